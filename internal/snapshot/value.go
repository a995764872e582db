package snapshot

import (
	"bytes"
	"encoding/json"
	"errors"
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

// Why says why it could not be read, and the hint how to provide it; both are empty for known and absent values.
func (v Value[T]) Why() (why, hint string) {
	if v.state == unasked {
		return "not collected", ""
	}
	return v.why, v.hint
}

type valueJSON[T any] struct {
	Value      *T     `json:"value,omitempty"`
	Absent     bool   `json:"absent,omitempty"`
	Unreadable string `json:"unreadable,omitempty"`
	Hint       string `json:"hint,omitempty"`
}

// MarshalJSON writes {"value": x}, {"absent": true} or {"unreadable": "why", "hint": "..."}.
func (v Value[T]) MarshalJSON() ([]byte, error) {
	switch v.state {
	case known:
		return json.Marshal(valueJSON[T]{Value: &v.v})
	case absent:
		return []byte(`{"absent":true}`), nil
	}
	why, hint := v.Why()
	return json.Marshal(valueJSON[T]{Unreadable: why, Hint: hint})
}

// UnmarshalJSON reads exactly one of the three forms and refuses anything else.
func (v *Value[T]) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var j valueJSON[T]
	if err := dec.Decode(&j); err != nil {
		return err
	}
	forms := 0
	if j.Value != nil {
		*v, forms = Known(*j.Value), forms+1
	}
	if j.Absent {
		*v, forms = Absent[T](), forms+1
	}
	if j.Unreadable != "" {
		*v, forms = Unreadable[T](j.Unreadable, j.Hint), forms+1
	}
	if forms != 1 {
		return errors.New("a value needs exactly one of value, absent, unreadable")
	}
	return nil
}
