package sysctl

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func TestLiveKeys(t *testing.T) {
	ev := evidence(map[string]string{
		"/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal":  "0\n",
		"/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_x":  "10\n",
		"/proc/sys/net/ipv4/ip_forward":                        "1\n",
		"/proc/sys/net/ipv4/ip_local_port_range":               "32768\t60999\n",
		"/proc/sys/net/ipv4/conf/all/rp_filter":                "2\n",
		"/proc/sys/net/ipv4/conf/eth0.100/rp_filter":           "1\n",
		"/proc/sys/net/ipv6/conf/all/forwarding":               " 1 \n\n",
		"/proc/sys/net/bridge/bridge-nf-call-iptables":         "1\n",
		"/proc/sys/net/ipv4/conf/eth0.100/secret_not_our_case": "1\n",
	})
	live, missing := collected(ev)
	if len(missing) != 1 || missing[0].What != "net.ipv6.conf.all.forwarding" {
		t.Errorf("missing: %v", missing)
	}
	want := map[string]string{
		"net.netfilter.nf_conntrack_tcp_be_liberal": "0",
		"net.netfilter.nf_conntrack_sctp_timeout_x": "10",
		"net.ipv4.ip_forward":                       "1",
		"net.ipv4.ip_local_port_range":              "32768\t60999",
		"net.ipv4.conf.all.rp_filter":               "2",
		"net.ipv4.conf.eth0/100.rp_filter":          "1",
		"net.bridge.bridge-nf-call-iptables":        "1",
	}
	got := map[string]string{}
	for key, v := range live.Live {
		if s, ok := v.Get(); ok {
			got[key] = s
		}
	}
	if !live.Live["net.ipv6.conf.all.forwarding"].IsUnreadable() {
		t.Error("two lines are no value")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
}

// TestAbsentIsSaid proves that what a node does not have stands in its snapshot as absent: conntrack not loaded, no IPVS, no
// bridge filtering, and the names that died with 4.9.
func TestAbsentIsSaid(t *testing.T) {
	live, missing := collected(evidence(map[string]string{"/proc/sys/net/ipv4/ip_forward": "0\n"}))
	if len(missing) != 0 {
		t.Errorf("missing: %v", missing)
	}
	for _, key := range []string{
		"net.netfilter.nf_conntrack_tcp_be_liberal", "net.netfilter.nf_conntrack_max", "net.ipv4.netfilter.ip_conntrack_tcp_be_liberal",
		"net.bridge.bridge-nf-call-iptables", "net.ipv4.vs.conntrack", "net.ipv6.fwmark_reflect", "net.ipv6.conf.all.forwarding",
	} {
		if v, there := live.Live[key]; !there || !v.IsAbsent() {
			t.Errorf("%s = %v (there %v), want absent", key, v, there)
		}
	}
}

func TestUnreadableKeys(t *testing.T) {
	ev := evidence(nil)
	conntrack := glob("/proc/sys/net/netfilter/nf_conntrack_*")
	ev.Answers[conntrack.Key()] = &host.Answer{
		Files: map[string][]byte{
			"/proc/sys/net/netfilter/nf_conntrack_max":  []byte("65536\n"),
			"/proc/sys/net/netfilter/nf_conntrack_acct": []byte("0\x1b[31m\n"),
		},
		Failed: map[string]string{"/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal": "permission denied"},
		Err:    "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal: permission denied", Denied: true,
	}
	vs := glob("/proc/sys/net/ipv4/vs/*")
	ev.Answers[vs.Key()] = &host.Answer{Err: "input/output error"}
	ev.Answers[file("/proc/sys/net/ipv4/ip_forward").Key()] = &host.Answer{Data: []byte("0"), Truncated: true}
	live, missing := collected(ev)
	if why, hint := live.Live["net.netfilter.nf_conntrack_tcp_be_liberal"].Why(); why != "permission denied" || hint != "run as root" {
		t.Errorf("be_liberal: %q, %q", why, hint)
	}
	for _, key := range []string{"net.netfilter.nf_conntrack_acct", "net.ipv4.vs.conntrack", "net.ipv4.ip_forward"} {
		if !live.Live[key].IsUnreadable() {
			t.Errorf("%s = %v, want unreadable", key, live.Live[key])
		}
	}
	if v := live.Live["net.netfilter.nf_conntrack_max"]; v.Or("") != "65536" {
		t.Errorf("max = %v: what could be read must be kept", v)
	}
	if v := live.Live["net.netfilter.nf_conntrack_tcp_loose"]; !v.IsAbsent() {
		t.Errorf("loose = %v, want absent: its folder was listed", v)
	}
	if len(missing) != 4 {
		t.Errorf("missing: %v", missing)
	}
}

func TestNothingCollected(t *testing.T) {
	live, missing := collected(&host.Evidence{Answers: map[string]*host.Answer{}})
	for key, v := range live.Live {
		if !v.IsUnreadable() {
			t.Errorf("%s = %v", key, v)
		}
	}
	if !live.Persisted.IsUnreadable() || !live.ModulesLoad.IsUnreadable() || !live.Mentions.IsUnreadable() || !live.ModuleOptions.IsUnreadable() || !live.BootReader.IsUnreadable() {
		t.Errorf("%+v", live)
	}
	if len(live.Live) < 20 || len(missing) < 20 {
		t.Errorf("%d keys, missing: %v", len(live.Live), missing)
	}
}

func TestConcern(t *testing.T) {
	c := concerns()
	for key, want := range map[string]bool{
		"net/netfilter/nf_conntrack_tcp_be_liberal":      true,
		"net/netfilter/nf_conntrack_anything_new":        true,
		"net/netfilter/*":                                true,
		"net/*/nf_conntrack_max":                         true,
		"net/netfilter/nf_c*":                            true,
		"net/netfilter/nf_log/*":                         false,
		"net/netfilter/nf_hooks_lwtunnel":                false,
		"net/ipv4/netfilter/ip_conntrack_tcp_be_liberal": true,
		"net/ipv4/ip_conntrack_max":                      true,
		"net/ipv4/conf/*/rp_filter":                      true,
		"net/ipv4/conf/*":                                false, // three parts only: a star never crosses a slash
		"net/ipv4/conf/*/*":                              true,
		"net/ipv4/conf/eth0.100/rp_filter":               true,
		"net/ipv4/conf/all/log_martians":                 false,
		"net/ipv4/conf/*/[lr]*":                          true,
		"net/ipv4/ip_forward":                            true,
		"net/ipv4/ip_forwar?":                            true,
		"net/ipv4/tcp_[a-":                               false,
		"net/ipv4/vs/whatever":                           true,
		"kernel/pid_max":                                 false,
		"":                                               false,
		"net/ipv6/conf/" + strings.Repeat("*", 1000) + "/forwarding": true,
	} {
		if got := c.has(key); got != want {
			t.Errorf("concern of %.60q = %v, want %v", key, got, want)
		}
	}
}

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"net.ipv4.conf.eth0/100.rp_filter": "net.ipv4.conf.eth0/100.rp_filter",
		"net/ipv4/conf/eth0.100/rp_filter": "net.ipv4.conf.eth0/100.rp_filter",
		"/net/ipv4/ip_forward":             "net.ipv4.ip_forward",
		"net//ipv4/./ip_forward":           "net.ipv4.ip_forward",
		"net.ipv4.ip_forward":              "net.ipv4.ip_forward",
		"net.ipv4.conf.*.rp_filter":        "net.ipv4.conf.*.rp_filter",
		"single":                           "single",
	} {
		if got := dotted(normalize(in)); got != want {
			t.Errorf("%q reads as %q, want %q", in, got, want)
		}
	}
}

// collected runs the collector.
func collected(ev *host.Evidence) (snapshot.Sysctl, []snapshot.Missing) {
	var doc snapshot.Document
	missing := New().Collect(ev, &doc)
	return doc.Sysctl, missing
}

// evidence is a node that runs systemd, unless told otherwise, and has these files and no others: what the needs find there.
func evidence(files map[string]string) *host.Evidence {
	ev := &host.Evidence{Answers: map[string]*host.Answer{}}
	for _, n := range New().Needs() {
		a := &host.Answer{Absent: true}
		if n.Args[0] == pathInit {
			a = &host.Answer{Data: []byte("systemd\n")}
		}
		for p, text := range files {
			switch {
			case n.Kind == host.File && p == n.Args[0]:
				a = &host.Answer{Data: []byte(text)}
			case n.Kind == host.Glob && shellMatch(n.Args[0], p):
				if a.Files == nil {
					a = &host.Answer{Files: map[string][]byte{}}
				}
				a.Files[p] = []byte(text)
			}
		}
		ev.Answers[n.Key()] = a
	}
	return ev
}
