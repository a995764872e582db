package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/report"
)

// formats scans with every format into a folder that the confined program may write to, and returns the JSON report.
func (n *testNode) formats(setup, path string) (outcome, report.Report) {
	n.t.Helper()
	dir := n.t.TempDir()
	o := n.confined(setup, fmt.Sprintf("PATH=%[2]s:$PATH exec $ctaudit scan --host-name router -v -o text=%[1]s/t -o json=%[1]s/j -o sarif=%[1]s/s -o junit=%[1]s/x", dir, path))
	for _, f := range []string{"t", "j", "s", "x"} {
		text, err := os.ReadFile(filepath.Join(dir, f))
		n.must(err)
		harmless(n.t, f, string(text))
	}
	harmless(n.t, "stdout", o.stdout)
	harmless(n.t, "stderr", o.stderr)
	return o, jsonOf(n.t, filepath.Join(dir, "j"))
}

// harmless requires that nothing in a report can drive a terminal, turn text around or become markup, and that it parses.
func harmless(t *testing.T, format, s string) {
	t.Helper()
	const turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
	bad := func(r rune) bool { return r != '\n' && unicode.IsControl(r) || strings.ContainsRune(turning, r) }
	if i := strings.IndexFunc(s, bad); i >= 0 {
		t.Errorf("%s has %q", format, s[max(0, i-40):min(len(s), i+40)])
	}
	if !utf8.ValidString(s) {
		t.Errorf("%s is not UTF-8", format)
	}
	switch format {
	case "j", "s":
		if !json.Valid([]byte(s)) {
			t.Errorf("%s is not JSON", format)
		}
	case "x":
		if strings.Contains(s, "<img") || strings.Contains(s, "<script") || strings.Contains(s, "<b>") {
			t.Errorf("junit has foreign markup")
		}
		for dec := xml.NewDecoder(strings.NewReader(s)); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatalf("junit: %v", err)
			}
		}
	}
}

// TestHostileTools: whatever a program that calls itself iptables-legacy-save prints, the run ends in time, and what cannot be
// a dump is missing.
func TestHostileTools(t *testing.T) {
	const head = `printf '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n'; `
	for name, tt := range map[string]struct{ script, missing string }{
		"garbage":    {`head -c 1000000 /dev/urandom`, "iptables-legacy filter"},
		"nothing":    {`exit 0`, "the kernel lists it and the dump lacks it"},
		"fails":      {`printf 'b\033[31m<b>oom\n' >&2; exit 1`, "exit status 1: b"},
		"crashes":    {head + `kill -SEGV $$`, "signal"},
		"no commit":  {head + `printf -- '-A INPUT -j DROP\n'`, "the dump ends without COMMIT"},
		"cut":        {head + `printf -- '-A INPUT -m conntrack --ctst'`, "the dump ends without COMMIT"},
		"long line":  {head + `printf -- '-A INPUT -m comment --comment "'; head -c 10000000 /dev/zero | tr '\0' x; printf '" -j DROP\nCOMMIT\n'`, "longer than 65536 bytes"},
		"long word":  {head + `head -c 10000000 /dev/zero | tr '\0' x; printf '\nCOMMIT\n'`, "longer than 65536 bytes"},
		"NUL":        {head + `printf -- '-A INPUT -m comment --comment "a\000b" -j DROP\nCOMMIT\n'`, "a NUL byte"},
		"no chain":   {head + `printf -- '-A \033[2J<img> -j DROP\nCOMMIT\n'`, "which is not declared"},
		"endless":    {head + `yes -- '-A INPUT -p tcp -j ACCEPT'`, "iptables-legacy filter"},
		"loud":       {`yes "$(printf '\033[31m')noise" | head -c 20000000 >&2; exit 1`, "exit status 1"},
		"never ends": {`sleep 600 & exec sleep 600`, "timed out after 30s"},
		"UTF-16":     {`printf '\377\376*\0f\0i\0'`, "a NUL byte"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, truth := exposedNode(t, netfilter.Legacy)
			dir := t.TempDir()
			n.must(os.WriteFile(filepath.Join(dir, "iptables-legacy-save"), []byte("#!/bin/bash\n"+tt.script+"\n"), 0o755))
			o, r := n.formats("", dir)
			withhold(t, truth, r)
			if !r.Exit.Incomplete {
				t.Errorf("exit %d %+v: want an incomplete audit", o.code, r.Exit)
			}
			if !slices.ContainsFunc(r.Hosts[0].Missing, func(m report.Missing) bool { return strings.Contains(m.What+": "+m.Why, tt.missing) }) {
				t.Errorf("nothing missing mentions %q: %+v", tt.missing, r.Hosts[0].Missing)
			}
		})
	}
}

// TestHostileWords: a dump that parses, and whose names and comments want to be more than text.
func TestHostileWords(t *testing.T) {
	const dump = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:ESC[31m<b>&amp; - [0:0]
-A INPUT -j ESC[31m<b>&amp;
-A ESC[31m<b>&amp; -i <b>ESC[2J -m comment --comment "<img src=x> ]]> BIDI ESC]0;titleBEL %s %n ${HOME} $(id) \"" -m conntrack --ctstate INVALID -j DROP
-A ESC[31m<b>&amp; -m unheardofESC[2J<script> -j WHATBIDIEVER
COMMIT
`
	n, truth := exposedNode(t, netfilter.Legacy)
	dir := t.TempDir()
	text := strings.NewReplacer("ESC", "\x1b", "BIDI", "\u202e", "BEL", "\a").Replace(dump)
	n.must(os.WriteFile(filepath.Join(dir, "dump"), []byte(text), 0o644))
	n.must(os.WriteFile(filepath.Join(dir, "iptables-legacy-save"), []byte("#!/bin/sh\nexec cat "+dir+"/dump\n"), 0o755))
	_, r := n.formats("", dir)
	if len(r.Hosts[0].Answers) == 0 || failed(truth)["CT-RST-001"].Control == "" {
		t.Fatalf("no answers: %+v", r.Hosts[0])
	}
}

// TestHostileNamesInTheKernel: what the kernel and nft let people name things. Interfaces may be called anything without a
// slash, a colon and white space or a lone percent sign (net/core/dev.c, dev_valid_name, __dev_alloc_name); nft's comments are free text.
func TestHostileNamesInTheKernel(t *testing.T) {
	n := newTestNode(t)
	var names []string
	for i, name := range []string{"<b>x<b", "\x1b[31mred", "\"'`$(id)", "..x", "\xff\xfe", "\u202eevil", "-j", "a*b?[c]", "\x7f\x01"} {
		if strings.ContainsAny(name, "/: \t") {
			t.Fatalf("%q is no interface name", name)
		}
		n.must(n.router.Run("ip", "link", "add", "name", name, "type", "veth", "peer", "name", fmt.Sprintf("peer%d", i)))
		n.must(n.router.Run("ip", "link", "set", "dev", name, "up"))
		n.must(n.router.Run("ip", "link", "set", "dev", fmt.Sprintf("peer%d", i), "up"))
		n.must(n.router.Run("ip", "addr", "add", fmt.Sprintf("203.0.%d.1/24", 200+i), "dev", name))
		n.must(n.router.Run("ip", "route", "add", "default", "via", fmt.Sprintf("203.0.%d.9", 200+i), "dev", name, "metric", fmt.Sprint(100+i)))
		names = append(names, name)
	}
	n.must(n.router.Load(netfilter.NFTables, "", strings.NewReplacer("ESC", "\x1b", "BIDI", "\u202e").Replace(`table inet hostile {
	comment "ESC[2J<script>alert(1)</script>BIDI %s"
	set names { type ifname; elements = { "<b>x<b" } }
	chain post { type nat hook postrouting priority 100; masquerade comment "ESC]0;xESC<img src=x onerror=1>"; }
	chain in { type filter hook input priority 0; iifname "<b>x<b" ct state invalid drop comment "ESC[31m]]>&BIDI' OR 1=1"; iifname @names accept; }
}`)))
	o, r := n.formats("", "/usr/sbin")
	if o.code != exitFindings || len(r.Hosts[0].Answers) < len(names) {
		t.Errorf("exit %d, %d answers for %d uplinks: %s", o.code, len(r.Hosts[0].Answers), len(names), o.stderr)
	}
	if len(failed(r)) == 0 || failed(r)["CT-RST-001"].Control == "" {
		t.Errorf("CT-RST-001 does not fail: %v", failed(r))
	}
}
