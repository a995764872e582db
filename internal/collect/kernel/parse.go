package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds one line of text that ends up in the document.
const maxLine = 4096

// parseLine reads a file that holds one line, as /proc/sys/kernel/osrelease does.
func parseLine(b []byte) (string, error) {
	s := strings.TrimSuffix(string(b[:min(len(b), maxLine+1)]), "\n")
	switch {
	case s == "":
		return "", errors.New("empty")
	case len(s) > maxLine:
		return "", fmt.Errorf("longer than %d bytes", maxLine)
	case !printable(s):
		return "", errors.New("not one line of text")
	}
	return s, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// maxPairs bounds the assignments of an os-release file; real ones have about twenty.
const maxPairs = 256

// parseOSRelease reads os-release(5): shell assignments without expansion. Lines that are none are ignored, as the manual
// page asks; the last assignment to a name holds.
func parseOSRelease(b []byte) (map[string]string, error) {
	out := map[string]string{}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSpace(line)
		if len(line) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
		name, value, ok := strings.Cut(string(line), "=")
		if !ok || !shellName(name) {
			continue
		}
		value = unquote(value)
		if !printable(value) {
			return nil, fmt.Errorf("%s holds control characters", name)
		}
		if out[name] = value; len(out) > maxPairs {
			return nil, fmt.Errorf("more than %d assignments", maxPairs)
		}
	}
	return out, nil
}

// shellName reports whether s is a name that a shell could assign to; comments and broken lines are not.
func shellName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// unquote undoes the quoting that os-release(5) allows: single or double quotes around the whole value, and backslashes
// before the characters special to a shell outside single quotes.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"'\\$`", s[i+1]) >= 0 {
			i++
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// maxModules bounds the list; a distribution's whole tree has about 6,000.
const maxModules = 20_000

// parseModules reads the names out of /proc/modules (kernel/module/procfs.c: "name size refcount users state address"), sorted.
func parseModules(b []byte) ([]string, error) {
	names := []string{}
	for line := range bytes.Lines(b) {
		fields := bytes.SplitN(bytes.TrimRight(line, "\n"), []byte(" "), 3)
		if len(fields) < 3 || !moduleName(fields[0]) {
			return nil, fmt.Errorf("line %d is no module", len(names)+1)
		}
		if _, err := strconv.ParseUint(string(fields[1][:min(len(fields[1]), 20)]), 10, 64); err != nil {
			return nil, fmt.Errorf("line %d: the size is no number", len(names)+1)
		}
		if names = append(names, string(fields[0])); len(names) > maxModules {
			return nil, fmt.Errorf("more than %d modules", maxModules)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// moduleName reports whether b can be a module's name: MODULE_NAME_LEN is 64 less a pointer (include/linux/module.h).
func moduleName(b []byte) bool {
	const longest = 64
	if len(b) == 0 || len(b) > longest {
		return false
	}
	for _, c := range b {
		word := c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !word {
			return false
		}
	}
	return true
}

// parseCPUList counts the CPUs of a list such as "0-3,8,10-11" (Documentation/admin-guide/cputopology.rst).
func parseCPUList(b []byte) (int, error) {
	s, err := parseLine(b)
	if err != nil {
		return 0, err
	}
	const most = 1 << 16 // NR_CPUS is at most 8192 so far
	count := 0
	for part := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || hi < lo {
			return 0, fmt.Errorf("%q is no range of CPUs", part)
		}
		if count += int(hi-lo) + 1; count > most {
			return 0, fmt.Errorf("more than %d CPUs", most)
		}
	}
	return count, nil
}

// parseMemTotal finds MemTotal, in KiB, in /proc/meminfo (fs/proc/meminfo.c; the kernel's "kB" are 1024 bytes).
func parseMemTotal(b []byte) (uint64, error) {
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte("MemTotal:"))
		if !ok {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) != 2 || string(f[1]) != "kB" {
			return 0, errors.New("MemTotal is not in kB")
		}
		n, err := strconv.ParseUint(string(f[0]), 10, 64)
		if err != nil {
			return 0, errors.New("MemTotal is no number")
		}
		return n, nil
	}
	return 0, errors.New("no MemTotal")
}

// parseUptime reads the seconds since boot, the first number of /proc/uptime (fs/proc/uptime.c).
func parseUptime(b []byte) (float64, error) {
	s, err := parseLine(b)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(s, " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil || v < 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, errors.New("no number of seconds")
	}
	return v, nil
}
