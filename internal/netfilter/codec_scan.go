package netfilter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// scanner reads the small JSON language of steps and sets: objects with known keys, arrays, strings, booleans and
// numbers. It is here because a document holds a hundred thousand rules, and encoding/json's strictness ends at every
// custom UnmarshalJSON. Unknown and repeated keys are errors.
type scanner struct {
	b []byte
	i int
}

var errCut = errors.New("decode ruleset: ends in the middle")

func (s *scanner) next() byte {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return s.b[s.i]
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	got := s.next()
	if s.i >= len(s.b) {
		return errCut
	}
	if got != c {
		return fmt.Errorf("decode ruleset: %q where %q is needed", got, c)
	}
	s.i++
	return nil
}

// end reports an error if anything is left.
func (s *scanner) end() error {
	if s.next(); s.i < len(s.b) {
		return fmt.Errorf("decode ruleset: %q after the end", s.b[s.i])
	}
	return nil
}

// list reads open, any number of items separated by commas, and the matching close.
func (s *scanner) list(open, closing byte, item func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.next() == closing {
		return s.expect(closing)
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.next() == closing {
			return s.expect(closing)
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// array reads an array of at most limit items.
func (s *scanner) array(limit int, item func() error) error {
	n := 0
	return s.list('[', ']', func() error {
		if n++; n > limit {
			return fmt.Errorf("decode ruleset: more than %d items", limit)
		}
		return item()
	})
}

// object reads an object and hands each key to field, which reads the value. keys names the allowed keys.
func (s *scanner) object(keys []string, field func(key string) error) error {
	var seen uint32
	return s.list('{', '}', func() error {
		raw, err := s.raw()
		if err != nil {
			return err
		}
		at := -1
		for i, k := range keys {
			if string(raw) == k {
				at = i
			}
		}
		if at < 0 {
			return fmt.Errorf("decode ruleset: unknown field %.40q", raw)
		}
		if seen&(1<<at) != 0 {
			return fmt.Errorf("decode ruleset: field %q twice", keys[at])
		}
		seen |= 1 << at
		if err := s.expect(':'); err != nil {
			return err
		}
		return field(keys[at])
	})
}

// maxString bounds one string, in bytes. None that a node shows comes near; answers repeat them.
const maxString = 64 << 10

// raw reads a string without escapes and returns its bytes in place; one with escapes is decoded.
func (s *scanner) raw() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start, escaped := s.i, false
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '\\':
			escaped = true
			s.i++
		case c == '"' && s.i-start > maxString:
			return nil, fmt.Errorf("decode ruleset: a string of %d bytes, more than %d", s.i-start, maxString)
		case c == '"':
			s.i++
			if !escaped {
				return s.b[start : s.i-1], nil
			}
			var out string
			err := json.Unmarshal(s.b[start-1:s.i], &out)
			return []byte(out), err
		case c < ' ':
			return nil, fmt.Errorf("decode ruleset: control character %#x in a string", c)
		}
	}
	return nil, errCut
}

func (s *scanner) text(dst *string) error {
	raw, err := s.raw()
	*dst = string(raw)
	return err
}

func (s *scanner) texts(limit int) (list []string, err error) {
	err = s.array(limit, func() error {
		var t string
		if err := s.text(&t); err != nil {
			return err
		}
		list = append(list, t)
		return nil
	})
	return list, err
}

func (s *scanner) word() string {
	s.next()
	start := s.i
	for s.i < len(s.b) && (s.b[s.i] >= 'a' && s.b[s.i] <= 'z' || s.b[s.i] >= '0' && s.b[s.i] <= '9') {
		s.i++
	}
	return string(s.b[start:s.i])
}

func (s *scanner) boolean(dst *bool) error {
	switch w := s.word(); w {
	case "true":
		*dst = true
	case "false":
		*dst = false
	default:
		return fmt.Errorf("decode ruleset: %.20q where true or false is needed", w)
	}
	return nil
}

func (s *scanner) number(dst *uint32) error {
	w := s.word()
	n, err := strconv.ParseUint(w, 10, 32)
	if err != nil {
		return fmt.Errorf("decode ruleset: %.20q where a number of 32 bits is needed", w)
	}
	*dst = uint32(n)
	return nil
}

// null reads "null" if it is next.
func (s *scanner) null() bool {
	if s.next() != 'n' || s.i+4 > len(s.b) || string(s.b[s.i:s.i+4]) != "null" {
		return false
	}
	s.i += 4
	return true
}
