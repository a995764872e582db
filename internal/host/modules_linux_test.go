package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root makes a tree of files to look in.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir + "/"
}

func with(base map[string]string, more ...string) map[string]string {
	all := map[string]string{}
	for k, v := range base {
		all[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestModules(t *testing.T) {
	modular := map[string]string{
		"proc/modules": "", "proc/sys/kernel/modprobe": "/sbin/modprobe\n", "proc/sys/kernel/modules_disabled": "0\n",
		"proc/sys/kernel/osrelease": "6.1.0-25-amd64\n", "proc/sys/kernel/ostype": "Linux\n",
	}
	const (
		builtin  = "lib/modules/6.1.0-25-amd64/modules.builtin"
		kallsyms = "0000000000000000 T nf_register_net_hook\n"
	)
	for name, tt := range map[string]struct {
		files map[string]string
		want  moduleState
		err   string
	}{
		"loaded":            {files: with(modular, "sys/module/nf_tables/initstate", "live\n"), want: moduleState{there: true}},
		"not loaded":        {files: with(modular, builtin, "kernel/net/netfilter/nfnetlink.ko\n"), want: moduleState{}},
		"built in":          {files: with(modular, builtin, "kernel/fs/a.ko\nkernel/net/netfilter/nf_tables.ko\n"), want: moduleState{there: true}},
		"built in, dashes":  {files: with(modular, "usr/"+builtin, "kernel/net/netfilter/nf-tables.ko.zst\n"), want: moduleState{there: true}},
		"another's name":    {files: with(modular, builtin, "kernel/net/nf_tables_ipv4.ko\n"), want: moduleState{}},
		"empty list":        {files: with(modular, builtin, "\n", "proc/kallsyms", kallsyms), want: moduleState{}},
		"another release":   {files: with(modular, "lib/modules/5.10.0/modules.builtin", "kernel/nf_tables.ko\n", "proc/kallsyms", kallsyms), want: moduleState{}},
		"symbol":            {files: with(modular, "proc/kallsyms", kallsyms+"0000000000000000 T nft_register_expr\n"), want: moduleState{there: true}},
		"no symbol":         {files: with(modular, "proc/kallsyms", kallsyms), want: moduleState{}},
		"no place to look":  {files: modular, err: "no such file or directory"},
		"kallsyms is empty": {files: with(modular, "proc/kallsyms", ""), err: "lacks the symbols"},
		"no modules at all": {files: map[string]string{"proc/sys/kernel/ostype": "Linux\n"}, want: moduleState{there: true, askIt: true}},
		"disabled for good": {files: with(modular, "proc/sys/kernel/modules_disabled", "1\n"), want: moduleState{there: true, askIt: true}},
		"no helper":         {files: with(modular, "proc/sys/kernel/modprobe", "\n"), want: moduleState{there: true, askIt: true}},
		"no proc":           {files: nil, err: "cannot tell whether the kernel module nf_tables is loaded without loading it"},
	} {
		t.Run(name, func(t *testing.T) {
			have := newModules(root(t, tt.files)).state("nf_tables")
			if tt.err != "" {
				if have.err == nil || have.there || !strings.Contains(have.err.Error(), tt.err) {
					t.Fatalf("want the error %q, have %+v", tt.err, have)
				}
				return
			}
			if have != tt.want {
				t.Errorf("want %+v, have %+v", tt.want, have)
			}
		})
	}
}

// Every module that a dump, a program or a condition depends on can be told by its symbols, and this kernel, which has
// them all or none, agrees.
func TestSymbolsOfModules(t *testing.T) {
	for _, name := range []string{"nfnetlink", "nf_tables", "nft_compat", "nf_conntrack_netlink", "nfnetlink_hook"} {
		if symbolOf(name) == "" {
			t.Errorf("no symbol of %s", name)
		}
	}
	if _, err := os.Stat("/proc/kallsyms"); err != nil {
		t.Skip("this kernel shows no symbols")
	}
	if there, err := newModules("/").symbol("nf_tables"); err != nil {
		t.Error(err)
	} else if answer := (&dumper{modules: newModules("/")}).once(t.Context(), Need{Kind: Netlink, Args: []string{DumpNFTables}}); answer.Absent == there {
		t.Errorf("symbols say %v, the kernel's answer is %+v", there, answer)
	}
}

// Nothing is asked, and no program run, while the module is not there: the absence is the answer.
func TestAbsentModulesAreNotAsked(t *testing.T) {
	files := map[string]string{
		"proc/modules": "", "proc/sys/kernel/modprobe": "/sbin/modprobe\n", "proc/sys/kernel/osrelease": "6.1\n",
		"lib/modules/6.1/modules.builtin": "kernel/fs/a.ko\n",
	}
	m := newModules(root(t, files))
	f := &fetch{ctx: t.Context(), dumper: &dumper{modules: m}}
	for _, dump := range []string{DumpNFTables, DumpNFElements, DumpNFGen, DumpNFHooks, DumpCTStats} {
		if a := f.readNeed(Need{Kind: Netlink, Args: []string{dump}}); !a.Absent || a.Err != "" {
			t.Errorf("%s: %+v", dump, a)
		}
	}
	bin := t.TempDir()
	program := filepath.Join(bin, "xtables-nft-multi")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iptables-save", "iptables"} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
		if a := f.runCommand(Need{Kind: Command, Args: []string{filepath.Join(bin, name), "-c"}}); !a.Absent {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if a := f.runCommand(Need{Kind: Command, Args: []string{"true"}, Only: "module:nft_compat"}); !a.Absent {
		t.Errorf("condition: %+v", a)
	}
	if a := f.readNeed(Need{Kind: Netlink, Args: []string{DumpLinks}}); a.Err != "" || len(a.Data) == 0 {
		t.Errorf("links: %+v", a)
	}
}

func FuzzWalkMessages(f *testing.F) {
	f.Add(request{typ: 20, body: []byte{1, 2, 3, 4}}.encode(7), uint32(7))
	f.Add(request{typ: 3, body: []byte{0, 0, 0, 0}}.encode(7), uint32(7))
	f.Add(request{typ: 2, body: []byte{0xff, 0xff, 0xff, 0xff}}.encode(1), uint32(1))
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, seq uint32) {
		w := walkMessages(b, seq, true)
		if w.kept < 0 || w.kept > len(b) {
			t.Fatalf("kept %d of %d", w.kept, len(b))
		}
		if end := fitting(b[:w.kept], len(b)/2); end < 0 || end > len(b)/2 {
			t.Fatalf("fitting %d of %d", end, len(b)/2)
		}
		n := 0
		if err := eachMessage(b[:w.kept], func(_ uint16, body []byte) error {
			n++
			linkName(body)
			_, _ = setOf(body)
			return nil
		}); err != nil {
			t.Fatalf("after %d messages: %v", n, err)
		}
	})
}
