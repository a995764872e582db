package sshtest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/ctaudit/ctaudit/internal/host/served"
)

// Answer is what the probe's script, or a ctaudit of the node's own, printed on some node, once: it is given again as if that ran
// anew, in a millisecond and without a shell.
type Answer struct {
	body  []byte // the script's records, unpacked; a ctaudit's recording, packed
	nonce string
	own   bool // a ctaudit's
}

var (
	marker    = regexp.MustCompile(`(?m)^ctaudit-probe \d+ ([0-9a-f]{32}) (gzip|plain)\n`)
	ownMarker = regexp.MustCompile(`(?m)^ctaudit-evidence \d+ [0-9a-f]{32}\n`)
)

// ParseAnswer takes what was printed.
func ParseAnswer(printed []byte) (*Answer, error) {
	if at := ownMarker.FindIndex(printed); at != nil {
		return &Answer{body: printed[at[1]:], own: true}, nil
	}
	at := marker.FindSubmatchIndex(printed)
	if at == nil {
		return nil, errors.New("parse answer: no marker")
	}
	a := &Answer{nonce: string(printed[at[2]:at[3]]), body: printed[at[1]:]}
	if string(printed[at[4]:at[5]]) == "plain" {
		return a, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(a.body))
	if err == nil {
		z.Multistream(false)
		a.body, err = io.ReadAll(z)
	}
	if err != nil {
		return nil, fmt.Errorf("parse answer: %w", err)
	}
	return a, nil
}

// Body is the script's records in answer to a question with that nonce.
func (a *Answer) Body(nonce string) []byte {
	return bytes.ReplaceAll(a.body, []byte(a.nonce), []byte(nonce))
}

// Replace is the answer of a node that has another text somewhere; each answer stays itself.
func (a *Answer) Replace(from, to string) *Answer {
	return &Answer{nonce: a.nonce, body: bytes.ReplaceAll(a.body, []byte(from), []byte(to))}
}

// Marker is the line before the records; the codec is gzip or plain.
func Marker(nonce, codec string) string { return "\nctaudit-probe 1 " + nonce + " " + codec + "\n" }

// Pack packs records as the script does: gzip -1.
func Pack(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is one
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

// Canned is a handler that gives the answer to whatever script of ctaudit's comes on standard input.
func (a *Answer) Canned(_ string, in io.Reader, out, errs io.Writer) uint32 {
	nonce, err := Greet(in, out)
	if err != nil {
		fmt.Fprintln(errs, err)
		return 2
	}
	head, body := served.Marker(nonce), a.body
	if !a.own {
		head, body = Marker(nonce, "gzip"), Pack(a.Body(nonce))
	}
	if _, err := out.Write(append([]byte(head), body...)); err != nil {
		return 1
	}
	return 0
}

// Greet reads a script to its end, says the first word as a shell does that runs it, and returns the script's nonce.
func Greet(in io.Reader, out io.Writer) (nonce string, err error) {
	script, err := io.ReadAll(in)
	if err != nil {
		return "", err
	}
	if nonce = askedNonce(script); nonce == "" {
		return "", errors.New("not the probe's script")
	}
	if bytes.Contains(script, []byte("ctaudit-shell")) {
		_, err = io.WriteString(out, "\nctaudit-shell "+nonce+"\n")
	}
	return nonce, err
}

// askedNonce is in the line that begins with it; empty: there is none.
func askedNonce(script []byte) string {
	const digits = 32
	line, found := bytes.CutPrefix(script, []byte("nonce="))
	if !found {
		_, line, _ = bytes.Cut(script, []byte("\nnonce="))
	}
	nonce, _, _ := bytes.Cut(line[:min(len(line), digits+1)], []byte(" "))
	if len(nonce) != digits || len(bytes.Trim(nonce, "0123456789abcdef")) > 0 {
		return ""
	}
	return string(nonce)
}
