package snapshot

import (
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
	compact, err := json.Marshal(doc, codecOptions())
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	if _, err := w.Write(layOut(compact)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Decode reads a document of any version that was ever released, and nothing else: an unknown version, an unknown,
// doubled or missing field, a wrong type, trailing data and a document that ends early are errors that say where (a JSON
// pointer, RFC 6901).
func Decode(r io.Reader) (*Document, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
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
