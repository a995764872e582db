package facts

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/netfilter"
	"github.com/ctaudit/ctaudit/internal/packetpath"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

var update = flag.Bool("update", false, "rewrite the golden facts")

// fixtures are snapshots that testdata/make.sh took of real namespaces.
func fixtures(t testing.TB) []string {
	t.Helper()
	list, err := filepath.Glob("testdata/*.json")
	if err != nil || len(list) < 12 {
		t.Fatalf("fixtures: %v, %v", list, err)
	}
	return list
}

func load(t testing.TB, name string) *snapshot.Document {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := snapshot.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestGolden holds the whole facts of every fixture, so that a change shows where it reaches. What matters is asserted in
// TestShapes.
func TestGolden(t *testing.T) {
	for _, path := range fixtures(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			f := Of(load(t, name)).Facts()
			f.Sysctl, f.Persisted = nil, Persisted{} // the machine's
			got, err := json.MarshalIndent(f, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", "golden", name+".facts")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(bytes.TrimSpace(want)), string(got)); diff != "" {
				t.Errorf("-want +got (run with -update):\n%s", diff)
			}
		})
	}
}

// shape is what an expert says of a fixture. Exposure: "A ip eth0" to whether it is "protected" or "exposed".
type shape struct {
	exposure map[string]string
	snat     map[netfilter.Family]string // action and whether it counts: "masquerade egress own", "none"
	proxy    string
	services string // families
	dnat     int    // of IPv4, at least
}

func shapes() map[string]shape {
	masquerade := map[netfilter.Family]string{"ip": "masquerade egress own", "ip6": "none"}
	return map[string]shape{
		"docker-plain":     {exposure: map[string]string{"A ip eth0": "exposed"}, snat: masquerade, proxy: "none"},
		"docker-published": {exposure: map[string]string{"A ip eth0": "exposed"}, snat: masquerade, proxy: "none", dnat: 2},
		"kubeproxy-iptables": {
			exposure: map[string]string{"A ip eth0": "exposed", "A ip flannel.1": "exposed", "B ip cni0": "protected"},
			snat:     masquerade, proxy: "kube-proxy-iptables", services: "ip", dnat: 5,
		},
		"kubeproxy-nftables": {
			exposure: map[string]string{"A ip eth0": "exposed", "B ip cni0": "exposed"},
			snat:     masquerade, proxy: "kube-proxy-nftables", services: "ip", dnat: 2,
		},
		"kubeproxy-ipvs": {
			exposure: map[string]string{"A ip eth0": "exposed", "B ip cni0": "exposed"},
			snat:     masquerade, proxy: "kube-proxy-ipvs", services: "ip",
		},
		"calico": {
			exposure: map[string]string{
				"A ip eth0": "exposed", "A ip vxlan.calico": "exposed",
				"B ip cali1a2b3c4d5e1": "protected", "B ip cali1a2b3c4d5e2": "protected",
			},
			snat: masquerade, proxy: "kube-proxy-iptables", services: "ip", dnat: 1,
		},
		"podman":    {exposure: map[string]string{"A ip eth0": "exposed"}, snat: map[netfilter.Family]string{"ip": "masquerade egress own", "ip6": "masquerade egress own"}, proxy: "none", dnat: 1},
		"firewalld": {exposure: map[string]string{"A ip eth0": "protected", "A ip6 eth0": "protected"}, snat: masquerade, proxy: "none"},
		"ufw":       {exposure: map[string]string{"A ip eth0": "protected"}, snat: masquerade, proxy: "none", dnat: 2},
		"router": {
			exposure: map[string]string{"A ip wan0": "protected", "A ip wan1": "exposed"},
			snat:     map[netfilter.Family]string{"ip": "masquerade egress own", "ip6": "masquerade egress own"}, proxy: "none",
		},
		"dualstack": {
			exposure: map[string]string{"A ip eth0": "protected", "A ip6 eth0": "exposed"},
			snat:     map[netfilter.Family]string{"ip": "masquerade egress own", "ip6": "masquerade egress own"}, proxy: "none",
		},
		"bare": {exposure: map[string]string{"A ip eth0": "exposed"}, snat: map[netfilter.Family]string{"ip": "none", "ip6": "none"}, proxy: "none"},
	}
}

func TestShapes(t *testing.T) {
	for name, want := range shapes() {
		t.Run(name, func(t *testing.T) {
			f := Of(load(t, name)).Facts()
			if diff := cmp.Diff(want.exposure, exposures(f)); diff != "" {
				t.Errorf("exposure, -want +got:\n%s", diff)
			}
			for _, fam := range families {
				if got := sourceText(f.SNAT[fam]); got != want.snat[fam] {
					t.Errorf("snat %s: %q, want %q", fam, got, want.snat[fam])
				}
				if s := f.Services[fam]; !s.Known || s.Value != (want.services == string(fam)) {
					t.Errorf("services %s: %+v", fam, s)
				}
			}
			if !f.ServiceProxy.Known || f.ServiceProxy.Value != want.proxy {
				t.Errorf("service proxy %+v, want %s", f.ServiceProxy, want.proxy)
			}
			if d := f.DNAT["ip"]; !d.Known || len(d.Value) < want.dnat || want.dnat == 0 && len(d.Value) > 0 {
				t.Errorf("dnat %+v, want %d", d, want.dnat)
			}
			if want := name != "bare"; !f.ConntrackUsed.Known || f.ConntrackUsed.Value != want {
				t.Errorf("conntrack used %+v, want %v", f.ConntrackUsed, want)
			}
			if !f.Forwarding["ip"].Value {
				t.Error("not forwarding")
			}
		})
	}
}

func exposures(f *Facts) map[string]string {
	out := map[string]string{}
	for _, e := range f.Exposure {
		state := "depends"
		switch {
		case e.Protected:
			state = "protected"
		case e.Exposed:
			state = "exposed"
		}
		out[e.Question+" "+string(e.Family)+" "+e.Interface] = state
	}
	return out
}

func sourceText(f Fact[[]NAT]) string {
	switch {
	case !f.Known:
		return "unknown"
	case len(f.Value) == 0:
		return "none"
	}
	i := max(0, slices.IndexFunc(f.Value, func(n NAT) bool { return n.Egress && n.Own }))
	text := f.Value[i].Action
	if f.Value[i].Egress {
		text += " egress"
	}
	if f.Value[i].Own {
		text += " own"
	}
	return text
}

// TestUnreadNeverProtects takes away what was read, one thing at a time: nothing may look safer for it.
func TestUnreadNeverProtects(t *testing.T) {
	for name := range shapes() {
		n := Of(load(t, name))
		whole := n.Facts()
		was := exposures(whole)
		for _, a := range n.Ask(packetpath.B) { // asked when it is not known whether there are Services
			e := exposure(a)
			was["B "+string(e.Family)+" "+e.Interface] = map[bool]string{true: "protected"}[e.Protected]
		}
		for what, blind := range blinded(t, name) {
			t.Run(name+"/"+what, func(t *testing.T) {
				f := Of(blind).Facts()
				for key, state := range exposures(f) {
					if state == "protected" && was[key] != "protected" {
						t.Errorf("%s: %s, was %q", key, state, was[key])
					}
				}
				got := exposures(f)
				for key, state := range exposures(whole) {
					if state == "exposed" && got[key] == "" && !blind.Topology.Links.IsUnreadable() && !blind.Topology.Addresses.IsUnreadable() {
						t.Errorf("%s: exposed, and not even asked about", key)
					}
				}
				for _, fam := range families {
					if s := whole.SNAT[fam]; len(s.Value) > 0 && sourceText(f.SNAT[fam]) == "none" {
						t.Errorf("snat %s: known to be none", fam)
					}
					if whole.Services[fam].Value && f.Services[fam].Known && !f.Services[fam].Value {
						t.Errorf("services %s: known to be none", fam)
					}
				}
				if whole.ConntrackUsed.Value && f.ConntrackUsed.Known && !f.ConntrackUsed.Value {
					t.Error("conntrack known to be idle")
				}
			})
		}
	}
}

// blinded are copies of a fixture that lack something, each saying so as the collectors do.
func blinded(t testing.TB, name string) map[string]*snapshot.Document {
	out := map[string]*snapshot.Document{}
	doc := load(t, name)
	for i, table := range doc.Ruleset().Tables {
		d := load(t, name)
		blind(d, table)
		out["table "+string(table.Backend)+" "+string(table.Family)+" "+table.Name+string(rune('a'+i))] = d
	}
	for _, c := range doc.Collectors {
		d := load(t, name)
		for i := range d.Collectors {
			if d.Collectors[i].Name == c.Name {
				d.Collectors[i].Status = snapshot.StatusUnreadable
				d.Collectors[i].Missing = []snapshot.Missing{{What: c.Name, Why: "permission denied"}}
			}
		}
		switch c.Name {
		case "iptables":
			d.IPTables = snapshot.IPTables{}
		case "nftables":
			d.NFTables = snapshot.NFTables{}
		case "conntrack":
			d.Conntrack = snapshot.Conntrack{}
		case "topology":
			d.Topology = snapshot.Topology{}
		case "sysctl":
			d.Sysctl = snapshot.Sysctl{}
		}
		out["collector "+c.Name] = d
	}
	for what, forget := range map[string]func(*snapshot.Topology){
		"links":      func(t *snapshot.Topology) { t.Links = snapshot.Unreadable[[]snapshot.Link]("cut", "") },
		"addresses":  func(t *snapshot.Topology) { t.Addresses = snapshot.Unreadable[[]snapshot.Address]("cut", "") },
		"routes":     func(t *snapshot.Topology) { t.Routes = snapshot.Unreadable[[]snapshot.Route]("cut", "") },
		"namespaces": func(t *snapshot.Topology) { t.Namespaces = snapshot.Unreadable[[]snapshot.Namespace]("cut", "") },
	} {
		d := load(t, name)
		forget(&d.Topology)
		out[what] = d
	}
	return out
}

// blind empties a table's chains, in both readers' sections, and marks it.
func blind(d *snapshot.Document, table *netfilter.Table) {
	d.NFTables.HookOrder = snapshot.Absent[[]snapshot.HookEntry]()
	d.Conntrack.Count = snapshot.Known[uint64](0)
	for _, list := range [][]*netfilter.Table{d.IPTables.Tables, d.NFTables.Tables} {
		for _, t := range list {
			if t.Backend == table.Backend && t.Family == table.Family && t.Name == table.Name {
				t.Incomplete = "the dump is cut"
				for _, c := range t.Chains {
					c.Rules = c.Rules[:len(c.Rules)/2]
				}
			}
		}
	}
}

func TestPacketNamesALink(t *testing.T) {
	n := Of(load(t, "bare"))
	if _, err := n.Packet(packetpath.Query{Question: packetpath.Custom, Family: netfilter.IP, In: "eth9"}); err == nil {
		t.Error("no error for an interface that is not there")
	}
	if len(n.Interfaces()) != 1 || len(n.Ask(packetpath.A)) != 1 || len(n.Ask(packetpath.B)) != 0 {
		t.Errorf("%v, %v, %v", n.Interfaces(), n.Ask(packetpath.A), n.Ask(packetpath.B))
	}
}
