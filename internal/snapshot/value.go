package snapshot

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Value is something read from a node: known, absent (looked for, and not there) or unreadable (with why). The zero Value
// was never looked for; it encodes like unreadable, with "not collected", so that nothing takes it for a pass.
type Value[T any] struct {
	state valueState
	v     T
	why   string
	hint  string
}

type valueState uint8

const (
	unasked valueState = iota
	known
	absent
	unreadable
)

// Known returns a value that was read.
func Known[T any](v T) Value[T] { return Value[T]{state: known, v: v} }

// Absent returns a value that is not there.
func Absent[T any]() Value[T] { return Value[T]{state: absent} }

// Unreadable returns a value that could not be read, and how to provide it (hint may be empty).
func Unreadable[T any](why, hint string) Value[T] {
	return Value[T]{state: unreadable, why: why, hint: hint}
}

// Get returns the value and whether it is known.
func (v Value[T]) Get() (T, bool) { return v.v, v.state == known }

// Or returns the value, or other when it is not known.
func (v Value[T]) Or(other T) T {
	if v.state == known {
		return v.v
	}
	return other
}

// IsAbsent reports whether it was looked for and is not there.
func (v Value[T]) IsAbsent() bool { return v.state == absent }

// IsUnreadable reports whether it could not be read, or was never looked for.
func (v Value[T]) IsUnreadable() bool { return v.state == unreadable || v.state == unasked }

// notCollected is why the zero Value is not known.
const notCollected = "not collected"

// Why says why it could not be read, and the hint how to provide it; both are empty for known and absent values.
func (v Value[T]) Why() (why, hint string) {
	if v.state == unasked {
		return notCollected, ""
	}
	return v.why, v.hint
}

// valueForm is Value's JSON: exactly one of Value, Absent and Unreadable. Hint goes with Unreadable only.
type valueForm[T any] struct {
	Value      *T     `json:"value,omitempty"`
	Absent     bool   `json:"absent,omitempty"`
	Unreadable string `json:"unreadable,omitempty"`
	Hint       string `json:"hint,omitempty"`
}

// MarshalJSON writes {"value": x}, {"absent": true} or {"unreadable": "why", "hint": "..."}.
func (v Value[T]) MarshalJSON() ([]byte, error) { return json.Marshal(v, codecOptions()) }

// MarshalJSONTo is MarshalJSON for an encoder.
func (v Value[T]) MarshalJSONTo(enc *jsontext.Encoder) error {
	switch v.state {
	case known:
		return encodeKnown(enc, &v.v)
	case absent:
		return json.MarshalEncode(enc, valueForm[T]{Absent: true})
	}
	why, hint := v.Why()
	if why == "" {
		why = "unknown reason"
	}
	return json.MarshalEncode(enc, valueForm[T]{Unreadable: why, Hint: hint})
}

// encodeKnown writes the key always: an empty list that was read is not the same as a list that was not.
func encodeKnown(enc *jsontext.Encoder, v any) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	if err := enc.WriteToken(jsontext.String("value")); err != nil {
		return err
	}
	if err := json.MarshalEncode(enc, v); err != nil {
		return err
	}
	return enc.WriteToken(jsontext.EndObject)
}

// UnmarshalJSON reads exactly one of the three forms and refuses anything else.
func (v *Value[T]) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, v, codecOptions()) }

// UnmarshalJSONFrom is UnmarshalJSON for a decoder.
func (v *Value[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var j valueForm[T]
	if err := json.UnmarshalDecode(dec, &j); err != nil {
		return err
	}
	switch {
	case j.Value != nil && !j.Absent && j.Unreadable == "" && j.Hint == "":
		*v = Known(*j.Value)
	case j.Value == nil && j.Absent && j.Unreadable == "" && j.Hint == "":
		*v = Absent[T]()
	case j.Value == nil && !j.Absent && j.Unreadable == notCollected && j.Hint == "":
		*v = Value[T]{}
	case j.Value == nil && !j.Absent && j.Unreadable != "":
		*v = Unreadable[T](j.Unreadable, j.Hint)
	default:
		return errors.New("a value needs exactly one of value, absent, unreadable")
	}
	return nil
}

// JSONSchemaAlias is the type whose fields a Value's JSON object has; the schema and the shape check ask for it.
func (Value[T]) JSONSchemaAlias() any { return valueForm[T]{} }
