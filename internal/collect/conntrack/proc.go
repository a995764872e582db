package conntrack

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// procName renames the columns of /proc/net/stat/nf_conntrack that the kernel's own struct calls otherwise: the headers "clashres" (since
// 5.10, in the place of "searched") and "chainlength" (since 5.15, in the place of "delete_list") stand for these counters.
func procName(column string) string {
	switch column {
	case "clashres":
		return "clash_resolve"
	case "chainlength":
		return "chaintoolong"
	}
	return column
}

// maxColumns bounds a line; the kernel's has 17 columns, netstat's about 140.
const maxColumns = 1024

// parseStat reads /proc/net/stat/nf_conntrack (ct_cpu_seq_show in net/netfilter/nf_conntrack_standalone.c, Linux 6.18): a header, and
// a line of hexadecimal 32-bit numbers for each possible CPU. Columns go by their header, since kernels have put other
// counters into the same place. "entries" is the table's size, repeated on every line, and no counter.
func parseStat(b []byte) ([]map[string]uint64, error) {
	header, rest, _ := bytes.Cut(b, []byte("\n"))
	columns, err := fields(header)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 || columns[0] != "entries" {
		return nil, errors.New("the header is not conntrack's")
	}
	dead := deadColumns(columns)
	perCPU := []map[string]uint64{}
	for line := range bytes.Lines(rest) {
		values, err := fields(line)
		if err != nil {
			return nil, err
		}
		if len(values) != len(columns) || len(perCPU) >= maxCPUs {
			return nil, fmt.Errorf("line %d has %d columns, the header %d", len(perCPU)+2, len(values), len(columns))
		}
		cpu, err := numbers(columns, values, dead)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(perCPU)+2, err)
		}
		perCPU = append(perCPU, cpu)
	}
	if len(perCPU) == 0 {
		return nil, errors.New("no CPU in it")
	}
	return perCPU, nil
}

// deadColumns are those that hold no counter: "entries", and in kernels that call their first counter "clashres" (5.10 and later)
// the counters that had been dropped by then; the kernel prints a constant zero for them.
func deadColumns(columns []string) map[string]bool {
	dead := map[string]bool{"entries": true}
	if slices.Contains(columns, "clashres") {
		for _, name := range [...]string{"new", "ignore", "delete", "delete_list"} {
			dead[name] = true
		}
	}
	return dead
}

func numbers(columns, values []string, dead map[string]bool) (map[string]uint64, error) {
	cpu := make(map[string]uint64, len(columns))
	for i, name := range columns {
		n, err := strconv.ParseUint(values[i], 16, 32)
		if err != nil {
			return nil, fmt.Errorf("%s is no hexadecimal number", name)
		}
		if !dead[name] {
			cpu[procName(name)] = n
		}
	}
	return cpu, nil
}

// fields splits a line into words of letters, digits and the signs that such tables hold.
func fields(line []byte) ([]string, error) {
	const longest = 64 << 10
	if len(line) > longest {
		return nil, fmt.Errorf("a line is longer than %d bytes", longest)
	}
	words := strings.Fields(string(line))
	if len(words) > maxColumns {
		return nil, fmt.Errorf("more than %d columns", maxColumns)
	}
	for _, w := range words {
		if len(w) > 64 || strings.IndexFunc(w, notWord) >= 0 {
			return nil, errors.New("a word is neither a name nor a number")
		}
	}
	return words, nil
}

func notWord(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !letter && (r < '0' || r > '9') && r != '_' && r != '-' && r != ':'
}

// parsePairs adds one group of /proc/net/snmp or /proc/net/netstat (net/ipv4/proc.c): a line of names and a line of
// decimal numbers, both led by "Group:". The names that are added carry the group, "Tcp.OutRsts". A negative number (MaxConn is -1: no
// limit) is no count and is left out. prometheus/procfs reads these files into fixed fields and from a path only; by name,
// no counter is lost.
func parsePairs(b []byte, group string, to map[string]uint64) error {
	prefix := []byte(group + ": ")
	var names []string
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, prefix)
		if !ok {
			continue
		}
		words, err := fields(rest)
		if err != nil {
			return err
		}
		if names == nil {
			names = words
			continue
		}
		return pairs(group, names, words, to)
	}
	return fmt.Errorf("no group %s in it", group)
}

func pairs(group string, names, values []string, to map[string]uint64) error {
	if len(names) != len(values) || len(names) == 0 {
		return fmt.Errorf("group %s has %d names and %d numbers", group, len(names), len(values))
	}
	for i, name := range names {
		if strings.HasPrefix(values[i], "-") {
			continue
		}
		n, err := strconv.ParseUint(values[i], 10, 64)
		if err != nil {
			return fmt.Errorf("%s.%s is no number", group, name)
		}
		to[group+"."+name] = n
	}
	return nil
}
