package oracle

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ctaudit/ctaudit/internal/lab"
	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// Kept is a bench that serves one case after the other: to build one costs more than to run a case. Between cases its
// nf_tables are flushed and its settings put back; iptables-legacy's tables, which stay until the namespace goes, are
// swapped for those of the next case, empty where that has none. Nothing else is left behind: the segments make no conntrack
// entry ([lab.Bench]), and what keeps state in rules, sets or maps goes with them: see [Kept.Clear].
type Kept struct {
	Bench *lab.Bench

	legacy  netfilter.Family // of its legacy tables; empty: it has none
	restore *lab.Restorer    // of them
	dirty   map[string]bool  // its legacy tables
	reflect bool
	spent   bool
	named   bool // the last case has legacy rules whose state has a name
	cases   int
}

// KeptCases is how many cases a bench serves.
const KeptCases = 200

// Kind is which benches can serve the case: those of the same kind, for a legacy table once made is there for good.
func (c Case) Kind() netfilter.Family {
	for _, d := range c.Documents {
		if d.Backend == netfilter.Legacy {
			return d.Family
		}
	}
	return ""
}

// Keep takes over a new bench for cases of one kind.
func Keep(b *lab.Bench, kind netfilter.Family) *Kept {
	return &Kept{Bench: b, legacy: kind, restore: b.Node.Restorer(kind), dirty: map[string]bool{}}
}

// Close takes the bench down.
func (k *Kept) Close() error {
	defer k.Bench.Close()
	return k.restore.Close()
}

// Serves reports whether the bench can take another case.
func (k *Kept) Serves() bool { return !k.spent && k.cases < KeptCases }

// Reflects reports whether fwmark_reflect is on.
func (k *Kept) Reflects() bool { return k.reflect }

// Load is [Case.Load] on the bench. A case that was refused in part may have been loaded in part: that spends it.
func (k *Kept) Load(c Case) (Case, error) {
	k.cases++
	k.named = c.Kind() != "" && c.remembers()
	if c.Kind() != k.legacy {
		k.spent = true
		return c, fmt.Errorf("a bench for legacy tables of family %q cannot take a case of %q", k.legacy, c.Kind())
	}
	if err := k.settings(c); err != nil {
		return c, err
	}
	rest := k.emptied(c.legacyTables())
	with := c
	with.Documents = slices.Clone(c.Documents)
	for i := range with.Documents {
		if with.Documents[i].Backend == netfilter.Legacy {
			with.Documents[i].Text += rest
		}
	}
	loaded, err := with.load(k.put)
	k.spent = k.spent || err != nil
	for i := range loaded.Documents {
		if loaded.Documents[i].Backend == netfilter.Legacy {
			loaded.Documents[i].Text = strings.TrimSuffix(loaded.Documents[i].Text, rest)
		}
	}
	return loaded, err
}

func (k *Kept) put(d Document) error {
	if d.Backend == netfilter.Legacy {
		return k.restore.Load(d.Text)
	}
	return k.Bench.Node.Load(d.Backend, d.Family, d.Text)
}

// settings switches fwmark_reflect where the case before had it otherwise.
func (k *Kept) settings(c Case) error {
	if c.Reflect == k.reflect {
		return nil
	}
	k.reflect = c.Reflect
	value := map[bool]string{true: "1", false: "0"}[c.Reflect]
	err := errors.Join(k.Bench.Node.Sysctl("net.ipv4.fwmark_reflect", value), k.Bench.Node.Sysctl("net.ipv6.fwmark_reflect", value))
	k.spent = k.spent || err != nil
	return err
}

// emptied writes the legacy tables that were made so far and are not among those wanted, as they are at first. Those wanted
// are made now.
func (k *Kept) emptied(wanted []string) string {
	var b strings.Builder
	for _, t := range xtTables() {
		if slices.Contains(wanted, t.name) {
			k.dirty[t.name] = true
			continue
		}
		if !k.dirty[t.name] {
			continue
		}
		fmt.Fprintf(&b, "*%s\n", t.name)
		for _, chain := range t.chains {
			fmt.Fprintf(&b, ":%s ACCEPT [0:0]\n", chain)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// legacyTables names the tables of the case's iptables-legacy documents.
func (c Case) legacyTables() (names []string) {
	for _, d := range c.Documents {
		for line := range strings.Lines(d.Text) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "*"); ok && d.Backend == netfilter.Legacy {
				names = append(names, name)
			}
		}
	}
	return names
}

// Clear takes the last case's rules off. Legacy rules may stay until the next case's come, but for those whose state has a
// name by which the next could find it: one table's rules are checked before the other's are freed. iptables-nft waits for
// that itself (net/netfilter/nft_compat.c, nft_compat_wait_for_destructors()). An error spends the bench.
func (k *Kept) Clear() error {
	err := k.Bench.Node.FlushNFTables()
	if k.named && err == nil {
		err = k.restore.Load(k.emptied(nil))
	}
	k.spent = k.spent || err != nil
	return err
}

// remembers reports rules whose state has a name.
func (c Case) remembers() bool {
	return slices.ContainsFunc(c.Documents, func(d Document) bool {
		return slices.ContainsFunc([]string{"-m recent", "-m hashlimit", "-j IDLETIMER", "-j RATEEST"}, func(word string) bool {
			return strings.Contains(d.Text, word)
		})
	})
}
