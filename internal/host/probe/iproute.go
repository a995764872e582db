package probe

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ctaudit/ctaudit/internal/host"
)

// text is what the script has ip and tc print, several dumps in one where that spares a program.
type text string

const (
	textAddr   text = "addr" // links and addresses
	textRoute4 text = "route4"
	textRoute6 text = "route6"
	textRule4  text = "rule4"
	textRule6  text = "rule6"
	textQdisc  text = "qdisc"
)

const textLimit = 64 << 20

// argv is the program and its arguments, those for JSON aside.
func (t text) argv() []string {
	switch t {
	case textAddr:
		return []string{"ip", "-d", "addr", "show"}
	case textRoute4:
		return []string{"ip", "-4", "-d", "route", "show", "table", "all"}
	case textRoute6:
		return []string{"ip", "-6", "-d", "route", "show", "table", "all"}
	case textRule4:
		return []string{"ip", "-4", "-d", "rule", "show"}
	case textRule6:
		return []string{"ip", "-6", "-d", "rule", "show"}
	}
	return []string{"tc", "qdisc", "show"}
}

// textsFor are the texts that the dumps are made from. Names of links become numbers by those in textAddr.
func textsFor(dumps []host.Need) []text {
	var out []text
	for _, n := range dumps {
		switch n.Args[0] {
		case host.DumpLinks, host.DumpAddresses:
			out = append(out, textAddr)
		case host.DumpRoutes:
			out = append(out, textAddr, textRoute4, textRoute6)
		case host.DumpRules:
			out = append(out, textRule4, textRule6)
		case host.DumpQdiscs:
			out = append(out, textAddr, textQdisc)
		}
	}
	var each []text
	seen := map[text]bool{}
	for _, t := range out {
		if !seen[t] {
			each = append(each, t)
		}
		seen[t] = true
	}
	return each
}

// dumps makes rtnetlink's messages from the texts of one pass.
type dumps struct {
	texts map[text]*slot
	index map[string]uint32 // links by name
	links []ipLink
	fault *host.Answer // why the links are not known
}

func newDumps(texts map[text]*slot) *dumps {
	d := &dumps{texts: texts}
	if texts[textAddr] == nil {
		return d
	}
	if d.links, d.fault = decode[ipLink](d, textAddr); d.fault == nil {
		d.index = indexOf(d.links)
	}
	return d
}

func indexOf(links []ipLink) map[string]uint32 {
	index := make(map[string]uint32, len(links))
	for _, l := range links {
		index[l.Name] = l.Index
	}
	return index
}

// decode reads a text, or is the answer that says why it could not be read.
func decode[T any](d *dumps, t text) ([]T, *host.Answer) {
	s := d.texts[t]
	if s == nil {
		return nil, &host.Answer{Err: "not collected"}
	}
	program := t.argv()[0]
	if s.why == "absent" {
		return nil, &host.Answer{Err: "no " + program + " on this node"}
	}
	if s.why != "" {
		a := notRead(s.why, "")
		a.Err = program + ": " + a.Err
		return nil, a
	}
	return decodeOutput[T](s.output, program)
}

func decodeOutput[T any](o *output, program string) ([]T, *host.Answer) {
	a := commandAnswer(o, textLimit)
	switch {
	case o.status != 0 && strings.Contains(o.stderr, "BusyBox"):
		return nil, &host.Answer{Err: program + " is busybox's, which does not print JSON"}
	case o.status != 0 && strings.Contains(o.stderr, "is unknown, try"):
		return nil, &host.Answer{Err: program + " is too old to print JSON"}
	case a.Err != "":
		return nil, &host.Answer{Err: program + ": " + a.Err, Denied: a.Denied}
	case strings.Contains(o.stderr, "Dump was interrupted"):
		return nil, &host.Answer{Err: "changed while reading"}
	case a.Truncated:
		return nil, &host.Answer{Err: program + ": cut at the size limit"}
	}
	var list []T
	data := bytes.TrimSpace(a.Data)
	if len(data) == 0 && program != "" {
		return list, nil // no route of this family, in the words of older versions
	}
	// Some versions of ip print a name twice, and the kernel does not hold names of links to UTF-8.
	if err := json.Unmarshal(data, &list, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, &host.Answer{Err: program + " does not print JSON that can be read: " + printable(err.Error())}
	}
	return list, nil
}

// answer makes the answer to one need.
func (d *dumps) answer(n host.Need) *host.Answer {
	switch n.Args[0] {
	case host.DumpLinks:
		return messagesOf(d.links, d.fault, d.linkMessage)
	case host.DumpAddresses:
		return d.addresses(d.links, d.fault)
	case host.DumpRoutes:
		return d.families(textRoute4, textRoute6, routes)
	case host.DumpRules:
		return d.families(textRule4, textRule6, rules)
	}
	if d.fault != nil {
		return d.fault
	}
	list, fault := decode[ipQdisc](d, textQdisc)
	return messagesOf(list, fault, d.qdiscMessage)
}

// families joins the texts of both families; without one of them there is no answer.
func (d *dumps) families(four, six text, make func(*dumps, text, byte) *host.Answer) *host.Answer {
	a := make(d, four, familyIP4)
	b := make(d, six, familyIP6)
	switch {
	case a.Err != "":
		return a
	case b.Err != "" && lacksFamily(b.Err):
		return a
	case b.Err != "":
		return b
	}
	return &host.Answer{Data: append(a.Data, b.Data...)}
}

// lacksFamily recognises a kernel without IPv6.
func lacksFamily(err string) bool { return strings.Contains(err, "not supported") }

func routes(d *dumps, t text, family byte) *host.Answer {
	if d.fault != nil {
		return d.fault
	}
	list, fault := decode[ipRoute](d, t)
	return messagesOf(list, fault, func(b []byte, r ipRoute) ([]byte, error) { return d.routeMessage(b, r, family) })
}

func rules(d *dumps, t text, family byte) *host.Answer {
	list, fault := decode[ipRule](d, t)
	return messagesOf(list, fault, func(b []byte, r ipRule) ([]byte, error) { return ruleMessage(b, r, family) })
}

// messagesOf makes one message of each entry; one that cannot be said spoils them all, since a part would pass for the whole.
func messagesOf[T any](list []T, fault *host.Answer, add func([]byte, T) ([]byte, error)) *host.Answer {
	if fault != nil {
		return fault
	}
	a := &host.Answer{Data: []byte{}}
	for _, v := range list {
		var err error
		if a.Data, err = add(a.Data, v); err != nil {
			return &host.Answer{Err: err.Error()}
		}
	}
	return a
}

// addresses makes the messages of all addresses of links.
func (d *dumps) addresses(links []ipLink, fault *host.Answer) *host.Answer {
	if fault != nil {
		return fault
	}
	a := &host.Answer{Data: []byte{}}
	for _, l := range links {
		for _, v := range l.Addresses {
			var err error
			if a.Data, err = addressMessage(a.Data, v, l.Index); err != nil {
				return &host.Answer{Err: err.Error()}
			}
		}
	}
	return a
}

// number is a JSON number, or a string with one, or a name.
type number string

// UnmarshalJSONFrom is json.UnmarshalerFrom.
func (n *number) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	v, err := dec.ReadValue()
	switch {
	case err != nil:
		return err
	case v.Kind() == '"':
		var text [64]byte
		b, err := jsontext.AppendUnquote(text[:0], v)
		*n = number(b)
		return err
	case v.Kind() != 'n':
		*n = number(v)
	}
	return nil
}

// value is the number; named says what known names stand for.
func (n number) value(what string, named func(string) (uint32, bool)) (uint32, error) {
	if named != nil {
		if v, ok := named(string(n)); ok {
			return v, nil
		}
	}
	// "[772]" is what ip -N prints for some.
	v, err := strconv.ParseUint(strings.Trim(string(n), "[]"), 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%s %.40q has a name whose number the node did not tell", what, string(n))
	}
	return uint32(v), nil
}

// link finds a link's number by its name; "if7" is ip's word for one that it has no name for.
func (d *dumps) link(name string) (uint32, error) { return linkIn(d.index, name) }

func linkIn(index map[string]uint32, name string) (uint32, error) {
	if i, ok := index[name]; ok {
		return i, nil
	}
	if digits, ok := strings.CutPrefix(name, "if"); ok {
		if i, err := strconv.ParseUint(digits, 10, 32); err == nil {
			return uint32(i), nil
		}
	}
	return 0, fmt.Errorf("link %.20q is not among the links", name)
}

var errNoAddress = errors.New("not an address of that family")

// addr parses an address and wants it of one family.
func addr(s string, family byte) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4() != (family == familyIP4) {
		return a, fmt.Errorf("%.60q: %w", s, errNoAddress)
	}
	return a, nil
}

// prefix parses "default", an address, or an address with a length. "0/8" stands for an address of zeros.
func prefix(s string, family byte) (netip.Prefix, error) {
	zero, bits := netip.IPv4Unspecified(), 32
	if family == familyIP6 {
		zero, bits = netip.IPv6Unspecified(), 128
	}
	if s == "default" || s == "all" {
		return netip.PrefixFrom(zero, 0), nil
	}
	text, length, has := strings.Cut(s, "/")
	if has {
		n, err := strconv.ParseUint(length, 10, 8)
		if err != nil || int(n) > bits {
			return netip.Prefix{}, fmt.Errorf("%.60q: not a prefix", s)
		}
		bits = int(n)
	}
	if text == "0" {
		return netip.PrefixFrom(zero, bits), nil
	}
	a, err := addr(text, family)
	return netip.PrefixFrom(a, bits), err
}
