// Package served reads a node with a ctaudit that is on it: the request goes in on standard input, the evidence comes out as a
// compressed recording. Both `ctaudit evidence` and the small collector that is sent to nodes (cmd/ctaudit-collector) answer
// so, and the asking side needs to be of the same protocol version only, since the request says everything that is to be read.
package served

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ctaudit/ctaudit/internal/host"
)

// Protocol is the version of request and answer. A ctaudit on the node is used when it has the same.
const Protocol = 1

// maxRequest bounds a request in bytes: some hundred needs of some hundred bytes.
const maxRequest = 1 << 20

// requestJSON is one JSON object on standard input.
type requestJSON struct {
	Protocol int           `json:"protocol"`
	Nonce    string        `json:"nonce"` // stands in the answer's marker
	Needs    []needJSON    `json:"needs"`
	Sample   time.Duration `json:"sample,omitempty"` // nanoseconds
}

type needJSON struct {
	Kind    host.Kind `json:"kind"`
	Args    []string  `json:"args"`
	Limit   int64     `json:"limit,omitempty"` // bytes
	Sampled bool      `json:"sampled,omitempty"`
	Only    string    `json:"only,omitempty"`
}

// Request is what to write to the other side's standard input: one line.
func Request(req host.Request, nonce string) ([]byte, error) {
	r := requestJSON{Protocol: Protocol, Nonce: nonce, Sample: req.Sample, Needs: make([]needJSON, len(req.Needs))}
	for i, n := range req.Needs {
		r.Needs[i] = needJSON(n)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return append(b, '\n'), nil
}

// Marker begins an answer, on a line of its own. What a login prints before it is skipped.
func Marker(nonce string) string { return fmt.Sprintf("ctaudit-evidence %d %s\n", Protocol, nonce) }

// Serve reads one request, reads what it asks for on h, and writes the answer: the marker, and a recording behind gzip.
func Serve(ctx context.Context, h host.Host, tool string, rw io.ReadWriter) error {
	text, err := io.ReadAll(io.LimitReader(rw, maxRequest+1))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if len(text) > maxRequest {
		return fmt.Errorf("read request: longer than %d bytes", maxRequest)
	}
	var r requestJSON
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if r.Protocol != Protocol {
		return fmt.Errorf("read request: protocol %d, this ctaudit speaks %d", r.Protocol, Protocol)
	}
	req := host.Request{Sample: r.Sample}
	for _, n := range r.Needs {
		req.Needs = append(req.Needs, host.Need(n))
	}
	ev, err := h.Fetch(ctx, req)
	if err != nil {
		return err
	}
	ev.Tool = tool
	return answer(rw, ev, r.Nonce)
}

func answer(w io.Writer, ev *host.Evidence, nonce string) error {
	if _, err := io.WriteString(w, Marker(nonce)); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := host.Record(z, ev); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// ErrTooLong is an answer of more bytes, once decompressed, than the asking side allows.
var ErrTooLong = errors.New("the answer is too long")

// ErrTrailing is something behind the end of an answer.
var ErrTrailing = errors.New("the answer goes on behind its end")

// Read takes an answer, from behind the marker to its end, of at most limit bytes once decompressed. An answer that was cut
// or spoilt on its way is an error: gzip carries a checksum, and a recording its number of answers.
func Read(ctx context.Context, r io.Reader, req host.Request, limit int64) (*host.Evidence, error) {
	buffered := bufio.NewReader(r)
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", cut(err))
	}
	z.Multistream(false)
	recording, err := host.OpenRecording(&capped{host.Weighed(z, r), limit})
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if _, err := buffered.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("read answer: %w", ErrTrailing)
	}
	return recording.Fetch(ctx, req)
}

// capped ends with ErrTooLong where more than left bytes come.
type capped struct {
	io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, ErrTooLong
	}
	return n, err
}

// cut is what an early end means here.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
