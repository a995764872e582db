package snapshot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// MaxSize is the size in bytes above which Decode refuses a document: twenty times the snapshot of a node with a
// hundred thousand rules.
const MaxSize = 512 << 20

// codecOptions are the rules of the snapshot's JSON: maps sorted by key, omitempty as struct tags in Go have always
// meant it, no unknown keys, and text that is not UTF-8 with U+FFFD in the place of the broken bytes.
func codecOptions() json.Options {
	return json.JoinOptions(
		json.Deterministic(true),
		json.RejectUnknownMembers(true),
		jsonv1.OmitEmptyWithLegacySemantics(true),
		jsontext.AllowInvalidUTF8(true),
	)
}

// Encode writes the document: the same bytes for the same document, one rule, link or route a line. Lists and maps that
// are nil are written empty.
func Encode(w io.Writer, doc *Document) error {
	l := &layout{w: w}
	err := json.MarshalWrite(l, doc, codecOptions())
	switch {
	case l.err != nil:
		return fmt.Errorf("write snapshot: %w", l.err)
	case err != nil:
		return fmt.Errorf("encode snapshot: %w", err)
	}
	if _, err := w.Write([]byte{'\n'}); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Decode reads a document of any version that was ever released, and nothing else: an unknown version, an unknown,
// doubled or missing field, a wrong type, trailing data and a document that ends early are errors that say where (a JSON
// pointer, RFC 6901).
func Decode(r io.Reader) (*Document, error) {
	buffered := bufio.NewReader(io.LimitReader(r, MaxSize+1))
	head, err := buffered.Peek(headSize)
	if err == nil || errors.Is(err, io.EOF) {
		err = opening(head)
	}
	if err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	b, err := io.ReadAll(buffered)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	doc, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("decode snapshot: %w", err)
	}
	return doc, nil
}

func decode(b []byte) (*Document, error) {
	switch {
	case len(b) > MaxSize:
		return nil, fmt.Errorf("larger than %d MiB", MaxSize>>20)
	case len(b) == 0:
		return nil, errors.New("empty")
	}
	if err := checkVersion(b); err != nil {
		return nil, err
	}
	if err := checkShape(b, reflect.TypeFor[Document]()); err != nil {
		return nil, plain(err, len(b))
	}
	doc := new(Document)
	if err := json.Unmarshal(b, doc, codecOptions()); err != nil {
		return nil, plain(err, len(b))
	}
	return doc, nil
}

// headSize is how much of a document tells whether reading it is worth while.
const headSize = 512

// opening refuses what cannot be a snapshot by how it begins, before all of it is read: a device has no end. What snapshots become
// on their way by mistake it knows by name.
func opening(b []byte) error {
	for _, w := range [...]struct{ magic, why string }{
		{"\x1f\x8b", "compressed with gzip: unpack it first (gzip -dc)"},
		{"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first (zstd -dc)"},
		{"\xfd7zXZ", "compressed with xz: unpack it first (xz -dc)"},
		{"\xff\xfe", "UTF-16, as PowerShell writes it: convert it to UTF-8"},
		{"\xfe\xff", "UTF-16, as PowerShell writes it: convert it to UTF-8"},
		{"\xef\xbb\xbf", "begins with a byte order mark: remove it"},
	} {
		if bytes.HasPrefix(b, []byte(w.magic)) {
			return errors.New(w.why)
		}
	}
	text := bytes.TrimLeft(b, " \t\r\n")
	if len(text) == 0 && len(b) == headSize {
		return errors.New("begins with nothing but white space: this is no snapshot")
	}
	if len(text) > 0 && !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {
		return fmt.Errorf("begins with %q: this is no snapshot", text[:min(len(text), 16)])
	}
	return nil
}

// checkVersion looks at the version alone: the rest of a document of another version means something else.
func checkVersion(b []byte) error {
	var head struct {
		Version *int   `json:"version"`
		Tool    string `json:"tool"`
	}
	if err := json.Unmarshal(b, &head, jsontext.AllowInvalidUTF8(true)); err != nil {
		return plain(err, len(b))
	}
	switch {
	case head.Version == nil:
		return errors.New("no version: this is not a snapshot written by ctaudit collect")
	case *head.Version != Version:
		return fmt.Errorf("version %d: this build reads version %d; audit it with the ctaudit that wrote it (%q) or a newer one",
			*head.Version, Version, head.Tool)
	}
	return nil
}

// plain words a decoding error for the person who has the file: where, and what is wrong there.
func plain(err error, size int) error {
	var sem *json.SemanticError
	if errors.As(err, &sem) {
		return fmt.Errorf("%s: %s", place(sem.JSONPointer), semantic(sem))
	}
	var syn *jsontext.SyntacticError
	if !errors.As(err, &syn) {
		return err
	}
	if errors.Is(syn.Err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: the document ends early, after %d bytes", place(syn.JSONPointer), size)
	}
	return fmt.Errorf("%s: %w, at byte %d", place(syn.JSONPointer), syn.Err, syn.ByteOffset)
}

func semantic(e *json.SemanticError) string {
	switch {
	case e.Err != nil && e.JSONKind == jsontext.KindString && strings.HasPrefix(e.Err.Error(), "unknown object member"):
		return "unknown field"
	case e.Err != nil:
		return e.Err.Error()
	case e.GoType != nil:
		return fmt.Sprintf("%s where %s is expected", kindName(e.JSONKind), typeName(e.GoType))
	}
	return "unexpected " + kindName(e.JSONKind)
}

func place(p jsontext.Pointer) string {
	if p == "" {
		return "/"
	}
	return string(p)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "a list"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindNull:
		return "null"
	}
	return "a " + k.String()
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	}
	return "a whole number"
}
