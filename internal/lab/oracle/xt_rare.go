package oracle

import (
	"fmt"

	"github.com/ctaudit/ctaudit/internal/netfilter"
)

// xtRareMatches draws a few matches that seldom stand in a filter, so that they do not crowd out the others.
func (g *generator) xtRareMatches(not func() string, at xtPlace) []string {
	all := []string{
		"-m dscp " + not() + "--dscp 0x00", "-m tos " + not() + "--tos 0x00", "-m ecn " + not() + "--ecn-ip-ect 0",
		"-m u32 --u32 " + g.v4("0>>28=4", "0>>28=6"), `-m string --algo bm --string "x"`,
		"-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1",
		"-m statistic --mode random --probability 0.5", "-m limit --limit 1/s", "-m quota --quota 100", "-m cpu --cpu 0",
		"-m recent --name r --set", "-m recent --name r --rcheck", "-m connlimit --connlimit-above 2",
		"-m hashlimit --hashlimit-upto 1/s --hashlimit-name h", "-m physdev " + not() + "--physdev-in u0", "-m realm --realm 0",
		"-m connlabel " + not() + "--label 1", "-m time --timestart 00:00 --timestop 23:59",
		fmt.Sprintf("-m length %s--length %d:", not(), 40+g.IntN(30)), "-m recent --name r ! --set",
		"-m addrtype " + g.one("", "! ") + "--dst-type LOCAL", g.v4("-m ttl --ttl-eq 64 ! -f", "-m hl --hl-eq 64"),
	}
	if at.chain == "PREROUTING" || at.chain == "INPUT" {
		all = append(all, "-m addrtype --dst-type LOCAL --limit-iface-in", "-m addrtype ! --dst-type LOCAL --limit-iface-in")
	}
	if at.chain == "PREROUTING" && (at.table.name == "raw" || at.table.name == "mangle") {
		all = append(all, "-m rpfilter", "-m rpfilter --invert")
	}
	if at.chain == "PREROUTING" || at.chain == "INPUT" {
		all = append(all, "-m policy --dir in --pol none", "-m policy --dir in --pol ipsec",
			"-m mac "+not()+"--mac-source 02:00:00:00:00:01")
	}
	return []string{g.one(all...), g.one(all...)}
}

// xtRareTarget draws a target that decides nothing, or that stands in few tables.
func (g *generator) xtRareTarget(at xtPlace) string {
	all := []string{
		"-j LOG", "-j NFLOG --nflog-group 5", "-j AUDIT --type accept", "-j IDLETIMER --timeout 60 --label x",
	}
	switch at.table.name {
	case "mangle":
		all = append(all, "-j DSCP --set-dscp 0x2e", "-j TOS --set-tos 0x10",
			g.v4("-j TTL --ttl-set 1", "-j HL --hl-set 1"), "-j CHECKSUM --checksum-fill")
		if at.chain == "OUTPUT" || at.chain == "POSTROUTING" {
			all = append(all, "-j CLASSIFY --set-class 1:1")
		}
		if at.tcp {
			all = append(all, "-j TCPOPTSTRIP --strip-options timestamp")
		}
		if g.family == netfilter.IP6 && at.chain == "POSTROUTING" {
			all = append(all, "-j SNPT --src-pfx 2001:db8:1::/64 --dst-pfx fd00:9::/64")
		}
		if at.tcp && at.chain == "PREROUTING" {
			all = append(all, "-j TPROXY --on-port 9")
		}
	case "nat":
		all = []string{"-j LOG"}
		switch at.chain {
		case "POSTROUTING":
			all = append(all, "-j MASQUERADE")
		case "PREROUTING", "OUTPUT":
			all = append(all, "-j REDIRECT", "-j DNAT --to-destination "+g.v4("10.0.0.1", "fd00::1"))
		}
	case "raw":
		all = append(all, "-j TRACE")
		if at.chain != "" {
			all = append(all, "-j CT --zone 3", "-j CT --ctevents new")
		}
	case "filter":
		if at.tcp && (at.chain == "INPUT" || at.chain == "FORWARD") {
			all = append(all, "-m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY")
		}
	}
	return g.one(all...)
}
