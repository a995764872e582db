package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/tools/txtar"
)

// maxRecording bounds a recording that is opened, in bytes: several times what a node of 100,000 rules makes.
const maxRecording = 1 << 30

// OpenRecording reads a recording whole. The host that it returns answers every Fetch from it, a need that it does not
// hold with Err "not in the recording". What was sampled when it was made is so again.
func OpenRecording(r io.Reader) (Host, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRecording+1))
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	if len(b) > maxRecording {
		return nil, fmt.Errorf("read recording: longer than %d bytes", maxRecording)
	}
	ev, err := parseRecording(b)
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	return &recorded{ev: ev}, nil
}

type recorded struct{ ev *Evidence }

// Fetch answers from the recording.
func (h *recorded) Fetch(ctx context.Context, req Request) (*Evidence, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ev := *h.ev
	ev.Answers = make(map[string]*Answer, len(req.Needs))
	for _, n := range req.Needs {
		a := h.ev.Answers[n.Key()]
		if a == nil {
			a = &Answer{Err: "not in the recording"}
		}
		ev.Answers[n.Key()] = a
	}
	return &ev, nil
}

// tape is a recording's sections, taken one after the other.
type tape struct {
	files []txtar.File
	next  int
}

func parseRecording(b []byte) (*Evidence, error) {
	archive := txtar.Parse(b)
	ev, err := parseHeader(string(archive.Comment))
	if err != nil {
		return nil, err
	}
	t := &tape{files: archive.Files}
	for i := 1; ; i++ {
		if name, _ := t.peek(); name == endSection {
			return ev, t.end(i - 1)
		}
		if err := t.answer(fmt.Sprintf("%04d/", i), ev.Answers); err != nil {
			return nil, err
		}
	}
}

// parseHeader reads the comment: each line once, in order, and nothing else.
func parseHeader(comment string) (*Evidence, error) {
	first, rest, _ := strings.Cut(comment, "\n")
	version, ok := strings.CutPrefix(first, recordingTitle)
	if !ok {
		return nil, errors.New("this is no ctaudit recording")
	}
	if version != strconv.Itoa(recordingVersion) {
		return nil, fmt.Errorf("version %.20q of the format is unknown; this ctaudit reads %d", version, recordingVersion)
	}
	ev := &Evidence{Answers: map[string]*Answer{}}
	var taken, interval string
	for _, h := range []struct {
		name string
		into *string
	}{{"tool", &ev.Tool}, {"host", &ev.Host}, {"taken", &taken}, {"interval", &interval}} {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok || name != h.name {
			return nil, fmt.Errorf("header: want %q, have %.40q", h.name+":", line)
		}
		*h.into = strings.TrimSpace(value)
	}
	if strings.TrimSpace(rest) != "" {
		return nil, fmt.Errorf("header: unknown line %.40q", rest)
	}
	var err error
	if ev.Taken, err = time.Parse(time.RFC3339Nano, taken); err != nil {
		return nil, fmt.Errorf("header: taken: not a time: %.40q", taken)
	}
	if ev.Interval, err = time.ParseDuration(interval); err != nil || ev.Interval < 0 {
		return nil, fmt.Errorf("header: interval: not a duration: %.40q", interval)
	}
	return ev, nil
}

func (t *tape) peek() (name string, ok bool) {
	if t.next >= len(t.files) {
		return "", false
	}
	return t.files[t.next].Name, true
}

// take returns the data of the next section, which must have this name.
func (t *tape) take(name string) ([]byte, error) {
	have, ok := t.peek()
	if !ok {
		return nil, fmt.Errorf("cut before section %q", name)
	}
	if have != name {
		return nil, fmt.Errorf("section %d: want %q, have %.60q", t.next+1, name, have)
	}
	t.next++
	return t.files[t.next-1].Data, nil
}

func (t *tape) end(answers int) error {
	b, err := t.take(endSection)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(b)) != strconv.Itoa(answers) {
		return fmt.Errorf("section %q: states %.20q answers, there are %d", endSection, strings.TrimSpace(string(b)), answers)
	}
	if name, ok := t.peek(); ok {
		return fmt.Errorf("section %.60q behind the end", name)
	}
	return nil
}

// answer takes one answer's sections.
func (t *tape) answer(dir string, into map[string]*Answer) error {
	m, err := t.meta(dir + "answer.json")
	if err != nil {
		return err
	}
	if m.Key == "" {
		return fmt.Errorf("section %q: no key", dir+"answer.json")
	}
	if into[m.Key] != nil {
		return fmt.Errorf("section %q: key %.80q is there twice", dir+"answer.json", m.Key)
	}
	a, err := t.body(dir, m)
	if err != nil {
		return err
	}
	if m.Second {
		s, err := t.meta(dir + "second.json")
		if err != nil {
			return err
		}
		if s.Second || s.Key != "" {
			return fmt.Errorf("section %q: a second reading has no key and no second", dir+"second.json")
		}
		if a.Second, err = t.body(dir+"second-", s); err != nil {
			return err
		}
	}
	into[m.Key] = a
	return nil
}

// meta decodes one JSON section, strictly.
func (t *tape) meta(name string) (metaJSON, error) {
	var m metaJSON
	b, err := t.take(name)
	if err != nil {
		return m, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, fmt.Errorf("section %q: %w", name, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return m, fmt.Errorf("section %q: more than one value", name)
	}
	if len(m.Files) > 0 && !m.Glob {
		return m, fmt.Errorf("section %q: files of no glob", name)
	}
	return m, nil
}

// body takes the data that the meta section announced.
func (t *tape) body(prefix string, m metaJSON) (*Answer, error) {
	a := &Answer{
		Absent: m.Absent, Err: m.Err, Denied: m.Denied, Exit: m.Exit, Stderr: string(m.Stderr.bytes()),
		Truncated: m.Truncated, Failed: m.Failed,
	}
	var err error
	if a.Data, err = t.data(prefix+"data", m.Data); err != nil {
		return nil, err
	}
	if m.Glob {
		a.Files = make(map[string][]byte, len(m.Files))
	}
	for i, f := range m.Files {
		path := string(f.Path.bytes())
		if i > 0 && path <= string(m.Files[i-1].Path.bytes()) {
			return nil, fmt.Errorf("section %q: file %.80q twice or out of order", prefix, path)
		}
		if a.Files[path], err = t.data(fmt.Sprintf("%sfile-%04d", prefix, i+1), f.Data); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// data takes one data section of the given form.
func (t *tape) data(name, form string) ([]byte, error) {
	switch form {
	case "":
		return nil, nil
	case "text", "line":
		b, err := t.take(name)
		if form == "line" {
			b = bytes.TrimSuffix(b, []byte("\n"))
		}
		return append([]byte{}, b...), err
	case "base64":
		name += base64Suffix
		b, err := t.take(name)
		if err != nil {
			return nil, err
		}
		// The decoder passes over the newlines.
		out := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
		n, err := base64.StdEncoding.Decode(out, b)
		if err != nil {
			return nil, fmt.Errorf("section %q: %w", name, err)
		}
		return out[:n], nil
	}
	return nil, fmt.Errorf("section %q: unknown form %.20q", name, form)
}
