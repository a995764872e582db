package nftables

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	nf "github.com/ctaudit/ctaudit/internal/netfilter"
)

// rawElement is an element as nft prints it.
type rawElement struct {
	key, end []byte
	data     []byte // of a map of values
	verdict  *nf.Verdict
	object   bool // it has what is no value, as the elements of maps of objects
	flags    uint32
}

// elements reads a set's lines. Those of a set without types are kept until a rule tells them.
func (r *textReader) elements(t *tableInfo, s *setInfo, body []byte) {
	var late []rawElement
	for len(body) > 0 {
		var line []byte
		if line, body = nextLine(body); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, ok := parseElement(line, r.parser.walker.octets)
		why := "nft prints an element in a form that is not understood"
		if s.count++; s.count > 2*MaxElements {
			ok, why = false, fmt.Sprintf("it has more than %d elements", MaxElements)
		}
		if ok && s.types == nil {
			late = append(late, e)
			continue
		}
		if ok {
			why = r.parser.addRaw(s, &e)
		}
		if why != "" {
			s.types = nil
			r.parser.partSet(t, s, why)
			return
		}
	}
	if s.types == nil {
		s.late = late
		s.infer = true
	}
}

// parseElement reads one line: "element KEY [- KEY]  : DATA FLAGS [end]" in the form of words, "element KEY [- KEY] [ : DATA]
// [flags FLAGS]" in that of octets, where a key is a value without 0x (nftnl_set_elem_snprintf_default, libnftnl 1.2.4, 1.3.2).
// A comment stands behind it, escaped, or with its length and sum alone.
func parseElement(line []byte, octets bool) (e rawElement, ok bool) {
	text, _, _ := strings.Cut(string(line), " userdata ")
	c := &cursor{words: strings.Fields(text), octets: octets}
	if !c.is("element") {
		return e, false
	}
	if e.key = c.elementValue(); c.is("-") {
		e.end = c.elementValue()
	}
	if octets {
		e.flags = c.flagsBehind()
		if len(c.words) > 0 {
			c.must(":")
			e.contents(c)
		}
		// Else the flags may be the end of a chain's name.
		whole := (e.flags&1 == 0 || len(e.data) == 0 && e.verdict == nil) && (e.flags&2 != 0) == (len(e.key) == 0)
		return e, whole && c.done() && e.flags <= 3
	}
	c.must(":")
	e.flags = c.flagsAtEnd()
	e.contents(c)
	return e, c.done() && e.flags <= 3
}

// contents reads what an element maps to.
func (e *rawElement) contents(c *cursor) {
	if len(c.words) == 0 || c.isGroup(c.words[0]) {
		e.data = c.elementValue()
		return
	}
	n := len(c.words)
	v, known := c.verdict()
	if e.object = c.octets && !known && n == 1 && !c.bad; e.object {
		return
	}
	e.verdict, c.bad = &v, c.bad || !known
}

// flagsAtEnd takes "FLAGS [end]" off the line's end.
func (c *cursor) flagsAtEnd() uint32 {
	n := len(c.words) - 2
	if n < 0 || c.words[n+1] != "[end]" {
		c.bad = true
		return 0
	}
	flags := &cursor{words: c.words[n : n+1]}
	c.words = c.words[:n]
	v := flags.u32()
	c.bad = c.bad || flags.bad
	return v
}

// flagsBehind takes "flags FLAGS" off the line's end; no flags have no words.
func (c *cursor) flagsBehind() uint32 {
	n := len(c.words) - 2
	if n < 0 || c.words[n] != "flags" {
		return 0
	}
	flags := &cursor{words: c.words[n+1:]}
	c.words = c.words[:n]
	v := flags.u32()
	c.bad = c.bad || flags.bad || v == 0
	return v
}

// addRaw adds an element of a set whose types are known.
func (p *parser) addRaw(s *setInfo, raw *rawElement) string {
	e := nf.Element{}
	switch {
	case s.objects: // their names are nobody's question
	case raw.object:
		return "nft prints its elements in a form that is not understood"
	case s.set.Verdicts && raw.verdict != nil:
		e.Verdict = p.shared.verdictPtr(*raw.verdict)
	case raw.flags&1 != 0 && raw.verdict == nil && len(raw.data) == 0: // the end of an interval
	case s.set.Verdicts || raw.verdict != nil:
		return "a verdict in it is not understood"
	case s.set.Map && (s.data == 0 || len(raw.data) < s.data):
		return "what it maps to is not understood"
	case s.set.Map:
		e.Data = p.mapData(s, raw.data[:s.data])
	}
	if raw.flags&2 != 0 {
		s.set.CatchAll = &e
		return ""
	}
	fits := s.keyLen > 0 && len(raw.key) == align4(s.keyLen) && (raw.end == nil || len(raw.end) == len(raw.key))
	if !fits || padded(s, raw.key) || padded(s, raw.end) {
		return "nft prints its elements in a form that is not understood"
	}
	if s.interval && len(s.types) == 1 && raw.end == nil {
		s.ends = append(s.ends, endpoint{number(raw.key[:s.keyLen], s.types[0].order), raw.flags&1 != 0, e})
		return ""
	}
	if raw.end == nil {
		raw.end = raw.key
	}
	return p.addKeys(s, e, raw.key, raw.end)
}

// padded reports whether something stands in the bytes behind a key's fields: then they are not what they are taken for.
func padded(s *setInfo, key []byte) bool {
	if key == nil {
		return false
	}
	at := 0
	for _, t := range s.types {
		end := at + align4(t.size)
		if end > len(key) || slices.ContainsFunc(key[at+t.size:end], func(b byte) bool { return b != 0 }) {
			return true
		}
		at = end
	}
	return false
}
