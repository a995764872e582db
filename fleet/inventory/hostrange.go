package inventory

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// address holds the grammar of Ansible's host patterns (lib/ansible/parsing/utils/addresses.py, 2.14): a port is split off only
// where the rest is an address or a host name, ranges included.
type address struct {
	bracketed, hostPort, host *regexp.Regexp
}

const (
	numbers = `\[(?:[0-9]+:[0-9]+)(?::[0-9]+)?\]`
	hexes   = `\[(?:[0-9a-f]+:[0-9a-f]+)(?::[0-9]+)?\]`
	letters = `\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]`
	octet   = `(?:[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]|` + numbers + `)`
	// A label ends neither with - nor with _.
	label = `(?:(?:[\pL\pN_]|` + letters + `)(?:[\pL\pN_-]|` + letters + `)*(?:[\pL\pN]|` + letters + `)|[\pL\pN]|` + letters + `)`
)

// ipv6 accepts what Ansible does, ranges instead of any group of digits included, and like Ansible looks at the beginning alone
// for all but the last alternative.
func ipv6() string {
	g := `(?:[0-9a-f]{1,4}|` + hexes + `)`
	alternatives := []string{
		`(?:G:){7}G`, `(?:G:){1,6}:`, `(?:G:)(?::G){1,6}`, `(?:G:){2}(?::G){1,5}`, `(?:G:){3}(?::G){1,4}`, `(?:G:){4}(?::G){1,3}`,
		`(?:G:){5}(?::G){1,2}`, `(?:G:){6}(?::G)`, `:(?::G){1,6}`, `G?::`, `(?:0:){6}(?:O\.){3}O`, `::(?:ffff:)?(?:O\.){3}O`,
		`(?:0:){5}ffff:(?:O\.){3}O$`,
	}
	return strings.NewReplacer("G", g, "O", octet).Replace(strings.Join(alternatives, "|"))
}

var addresses = address{
	bracketed: regexp.MustCompile(`^\[(.+)\]:([0-9]+)$`),
	hostPort:  regexp.MustCompile(`^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$`),
	host: regexp.MustCompile(`(?i)^(?:(?:` + octet + `\.){3}` + octet + `$|` + ipv6() + `|` +
		label + `(?:\.` + label + `)*$)`),
}

// split separates a host pattern from its port; ok is false for what is neither an address nor a host name.
func (a address) split(s string) (host, port string, ok bool) {
	host = s
	if m := a.bracketed.FindStringSubmatch(host); m != nil {
		host, port = m[1], m[2]
	}
	if m := a.hostPort.FindStringSubmatch(host); m != nil {
		host, port = m[1], m[2]
	}
	return host, port, a.host.MatchString(host)
}

// expand gives the names of a host pattern (web[01:50:2].example:22), and the port behind it, 0 for none.
func expand(pattern string) (names []string, port int, err error) {
	name := pattern
	if h, p, ok := addresses.split(pattern); ok {
		name = h
		if p != "" {
			if port, err = parsePort(p); err != nil {
				return nil, 0, err
			}
		}
	}
	names, err = expandRanges(name)
	return names, port, err
}

func parsePort(s string) (int, error) {
	port, err := strconv.Atoi(s)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("port %q: want 1 to 65535", s)
	}
	return port, nil
}

func expandRanges(pattern string) ([]string, error) {
	names := []string{""}
	for rest := pattern; rest != ""; {
		head, tail, found := strings.Cut(rest, "[")
		values := []string{""}
		if found {
			inner, after, closed := strings.Cut(tail, "]")
			if !closed {
				return nil, fmt.Errorf("host range %q: no closing bracket", pattern)
			}
			var err error
			if values, err = rangeValues(inner); err != nil {
				return nil, fmt.Errorf("host range %q: %w", pattern, err)
			}
			tail = after
		}
		if len(names)*len(values) > maxNames {
			return nil, fmt.Errorf("host range %q: more than %d hosts", pattern, maxNames)
		}
		names = product(names, head, values)
		rest = tail
	}
	return names, nil
}

func product(names []string, head string, values []string) []string {
	out := make([]string, 0, len(names)*len(values))
	for _, n := range names {
		for _, v := range values {
			out = append(out, n+head+v)
		}
	}
	return out
}

// rangeValues are what stands between the brackets: begin:end or begin:end:step, of numbers or of letters.
func rangeValues(inner string) ([]string, error) {
	bounds := strings.Split(inner, ":")
	if len(bounds) != 2 && len(bounds) != 3 {
		return nil, errors.New("want begin:end or begin:end:step")
	}
	step := 1
	if len(bounds) == 3 {
		var err error
		if step, err = strconv.Atoi(bounds[2]); err != nil || step < 1 {
			return nil, fmt.Errorf("step %q: want a number from 1", bounds[2])
		}
	}
	begin, end := bounds[0], bounds[1]
	if begin == "" {
		begin = "0"
	}
	if values, ok, err := letterRange(begin, end, step); ok {
		return values, err
	}
	return numberRange(begin, end, step)
}

// alphabet is the order of letters in Ansible's ranges.
const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func letterRange(begin, end string, step int) (values []string, ok bool, err error) {
	if len(begin) != 1 || len(end) != 1 {
		return nil, false, nil
	}
	first, last := strings.Index(alphabet, begin), strings.Index(alphabet, end)
	if first < 0 || last < 0 {
		return nil, false, nil
	}
	if first > last {
		return nil, true, errors.New("it begins behind its end")
	}
	for i := first; i <= last; i += step {
		values = append(values, alphabet[i:i+1])
	}
	return values, true, nil
}

func numberRange(begin, end string, step int) ([]string, error) {
	first, err1 := strconv.ParseUint(begin, 10, 62)
	last, err2 := strconv.ParseUint(end, 10, 62)
	width := 0
	if len(begin) > 1 && begin[0] == '0' {
		width = len(begin)
	}
	switch {
	case err1 != nil || err2 != nil:
		return nil, errors.New("want two numbers or two letters")
	case width > 0 && width != len(end):
		return nil, fmt.Errorf("%s and %s: padded numbers are of one length", begin, end)
	case first > last:
		return nil, errors.New("it begins behind its end")
	case (last-first)/uint64(step) >= maxNames:
		return nil, fmt.Errorf("more than %d hosts", maxNames)
	}
	var values []string
	for n := first; n <= last; n += uint64(step) {
		values = append(values, fmt.Sprintf("%0*d", width, n))
	}
	return values, nil
}
