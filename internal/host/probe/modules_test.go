package probe_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/host/probe"
)

// inRoot is the script without its last line, looking for modules below root.
func inRoot(root string) string {
	text := string(probe.Script(host.Request{}, newNonce()))
	text = text[:strings.LastIndex(text, "\nmain;")]
	for _, dir := range []string{"/sys/module/", "/proc/modules", "/proc/kallsyms", "/proc/sys/kernel/", "/usr/lib/modules/"} {
		text = strings.ReplaceAll(text, dir, root+dir)
	}
	return strings.ReplaceAll(text, `"/lib/modules/`, `"`+root+"/lib/modules/")
}

func with(base map[string]string, more ...string) map[string]string {
	all := maps.Clone(base)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// TestModules: a shell tells whether a module is there as host.Local does, on kernels of every kind.
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
		want  string
	}{
		"loaded":            {with(modular, "sys/module/nf_tables/initstate", "live\n"), "there"},
		"not loaded":        {with(modular, builtin, "kernel/net/netfilter/nfnetlink.ko\n"), "absent"},
		"built in":          {with(modular, builtin, "kernel/fs/a.ko\nkernel/net/netfilter/nf_tables.ko\n"), "there"},
		"built in, dashes":  {with(modular, "usr/"+builtin, "kernel/net/netfilter/nf-tables.ko.zst\n"), "there"},
		"another's name":    {with(modular, builtin, "kernel/net/nf_tables_ipv4.ko\n"), "absent"},
		"a folder's name":   {with(modular, builtin, "kernel/nf_tables.ko/other.ko\n"), "absent"},
		"empty list":        {with(modular, builtin, "\n", "proc/kallsyms", kallsyms), "absent"},
		"another release":   {with(modular, "lib/modules/5.10.0/modules.builtin", "kernel/nf_tables.ko\n", "proc/kallsyms", kallsyms), "absent"},
		"symbol":            {with(modular, "proc/kallsyms", kallsyms+"0000000000000000 T nft_register_expr\n"), "there"},
		"no symbol":         {with(modular, "proc/kallsyms", kallsyms), "absent"},
		"no place to look":  {modular, "unknown"},
		"kallsyms is empty": {with(modular, "proc/kallsyms", ""), "unknown"},
		"no netfilter":      {with(modular, "proc/kallsyms", "0000000000000000 T nft_register_expr\n"), "unknown"},
		"no modules at all": {map[string]string{"proc/sys/kernel/ostype": "Linux\n"}, "ask"},
		"disabled for good": {with(modular, "proc/sys/kernel/modules_disabled", "1\n"), "ask"},
		"no helper":         {with(modular, "proc/sys/kernel/modprobe", "\n"), "ask"},
		"a helper unended":  {with(modular, "proc/sys/kernel/modprobe", "/sbin/modprobe"), "unknown"},
		"no proc":           {nil, "unknown"},
	} {
		root := t.TempDir()
		for file, text := range tt.files {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
			must(t, os.WriteFile(filepath.Join(root, file), []byte(text), 0o644))
		}
		for sh, s := range shells(t) {
			cmd := exec.Command(s.argv[0], s.argv[1:]...)
			cmd.Stdin = strings.NewReader(inRoot(root) + "\nIFS=''; module nf_tables; printf %s \"$state\"\n")
			out, err := cmd.CombinedOutput()
			if word, _, _ := strings.Cut(string(out), " "); err != nil || word != tt.want {
				t.Errorf("%s in %s: have %q (%v), want %q", name, sh, out, err, tt.want)
			}
		}
	}
}

// TestAbsentModulesAreNotAsked: a program that would load a module is not run, whatever name it goes by.
func TestAbsentModulesAreNotAsked(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	for file, text := range map[string]string{
		"proc/modules": "", "proc/sys/kernel/modprobe": "/sbin/modprobe\n", "proc/sys/kernel/osrelease": "6.1\n",
		"lib/modules/6.1/modules.builtin": "kernel/fs/a.ko\n",
	} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755))
		must(t, os.WriteFile(filepath.Join(root, file), []byte(text), 0o644))
	}
	for _, name := range []string{"xtables-nft-multi", "nft", "harmless"} {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho ran\n"), 0o755))
	}
	must(t, os.Symlink("xtables-nft-multi", filepath.Join(bin, "iptables-save")))
	must(t, os.Symlink("iptables-save", filepath.Join(bin, "iptables")))
	must(t, os.Symlink("nft", filepath.Join(bin, "table-lister")))
	for sh, s := range shells(t) {
		for program, want := range map[string]string{"iptables-save": "absent", "iptables": "absent", "table-lister": "absent", "nft": "absent", "harmless": bin + "/harmless"} {
			cmd := exec.Command(s.argv[0], s.argv[1:]...)
			cmd.Stdin = strings.NewReader(inRoot(root) + "\nIFS='' PATH=" + bin + ":$PATH; if seek " + program + "; then printf %s \"$file\"; else printf %s \"$missing\"; fi\n")
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
				t.Errorf("%s in %s: have %q (%v), want %q", program, sh, out, err, want)
			}
		}
	}
}
