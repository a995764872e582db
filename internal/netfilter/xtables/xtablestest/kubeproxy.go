// Package xtablestest makes large iptables rulesets for tests and benchmarks.
package xtablestest

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Endpoints is how many backends each service of [KubeProxySave] has.
const Endpoints = 3

// RulesPerService is how many rules a service adds to [KubeProxySave].
const RulesPerService = 2 + Endpoints + 2*Endpoints

// KubeProxySave returns a filter and a nat table in the shape that kube-proxy's iptables mode writes, as iptables-restore
// accepts them: services cluster IPs (at most 60,000) of [Endpoints] backends each, one in ten with a node port and one
// in fifty without a backend. About [RulesPerService] rules a service.
func KubeProxySave(services int) string {
	var b strings.Builder
	b.Grow(services*2100 + 8192)
	filterTable(&b, services)
	natTable(&b, services)
	return b.String()
}

func idle(service int) bool     { return service%50 == 49 }
func nodePort(service int) bool { return service%10 == 3 }

func clusterIP(service int) string { return fmt.Sprintf("10.96.%d.%d", 1+service/250, 1+service%250) }

func podIP(service, endpoint int) string {
	n := service*Endpoints + endpoint
	return fmt.Sprintf("10.%d.%d.%d", 128+n/(250*250), n/250%250, 1+n%250)
}

// chainName is a chain's name as kube-proxy makes one: a prefix and 16 letters of a hash.
func chainName(prefix string, service, endpoint int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%d/%d", prefix, service, endpoint)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	name, n := []byte(prefix), h.Sum64()
	for range 12 {
		name, n = append(name, letters[n&31]), n>>5
	}
	return fmt.Sprintf("%s%04X", name, service&0xffff)
}

func serviceName(service int) string {
	return fmt.Sprintf("team-%d/service-%d:http", service%40, service)
}

func filterTable(b *strings.Builder, services int) {
	b.WriteString("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	for _, c := range []string{
		"KUBE-EXTERNAL-SERVICES", "KUBE-FIREWALL", "KUBE-FORWARD", "KUBE-KUBELET-CANARY",
		"KUBE-NODEPORTS", "KUBE-PROXY-CANARY", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES",
	} {
		fmt.Fprintf(b, ":%s - [0:0]\n", c)
	}
	b.WriteString(`-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
`)
	for s := range services {
		if idle(s) {
			fmt.Fprintf(b, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"%s has no endpoints\" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable\n",
				clusterIP(s), serviceName(s))
		}
	}
	b.WriteString("COMMIT\n")
}

func natTable(b *strings.Builder, services int) {
	b.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n")
	for _, c := range []string{
		"KUBE-KUBELET-CANARY", "KUBE-MARK-MASQ", "KUBE-NODEPORTS", "KUBE-POSTROUTING",
		"KUBE-PROXY-CANARY", "KUBE-SERVICES",
	} {
		fmt.Fprintf(b, ":%s - [0:0]\n", c)
	}
	for s := range services {
		declare(b, s)
	}
	b.WriteString(`-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
`)
	for s := range services {
		if nodePort(s) && !idle(s) {
			fmt.Fprintf(b, "-A KUBE-NODEPORTS -p tcp -m comment --comment \"%s\" -m tcp --dport %d -j %s\n",
				serviceName(s), 30000+s%2768, chainName("KUBE-EXT-", s, 0))
		}
	}
	b.WriteString(`-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
`)
	for s := range services {
		if !idle(s) {
			fmt.Fprintf(b, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"%s cluster IP\" -m tcp --dport 80 -j %s\n",
				clusterIP(s), serviceName(s), chainName("KUBE-SVC-", s, 0))
		}
	}
	b.WriteString("-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n")
	for s := range services {
		if !idle(s) {
			serviceRules(b, s)
		}
	}
	b.WriteString("COMMIT\n")
}

func declare(b *strings.Builder, s int) {
	if idle(s) {
		return
	}
	if nodePort(s) {
		fmt.Fprintf(b, ":%s - [0:0]\n", chainName("KUBE-EXT-", s, 0))
	}
	fmt.Fprintf(b, ":%s - [0:0]\n", chainName("KUBE-SVC-", s, 0))
	for e := range Endpoints {
		fmt.Fprintf(b, ":%s - [0:0]\n", chainName("KUBE-SEP-", s, e))
	}
}

func serviceRules(b *strings.Builder, s int) {
	name, svc := serviceName(s), chainName("KUBE-SVC-", s, 0)
	if nodePort(s) {
		ext := chainName("KUBE-EXT-", s, 0)
		fmt.Fprintf(b, "-A %s -m comment --comment \"masquerade traffic for %s external destinations\" -j KUBE-MARK-MASQ\n-A %s -j %s\n", ext, name, ext, svc)
	}
	for e := range Endpoints {
		sep, ip := chainName("KUBE-SEP-", s, e), podIP(s, e)
		fmt.Fprintf(b, "-A %s -s %s/32 -m comment --comment \"%s\" -j KUBE-MARK-MASQ\n", sep, ip, name)
		fmt.Fprintf(b, "-A %s -p tcp -m comment --comment \"%s\" -m tcp -j DNAT --to-destination %s:8080\n", sep, name, ip)
	}
	fmt.Fprintf(b, "-A %s ! -s 10.128.0.0/9 -d %s/32 -p tcp -m comment --comment \"%s cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ\n", svc, clusterIP(s), name)
	for e := range Endpoints {
		chance := ""
		if left := Endpoints - e; left > 1 {
			chance = fmt.Sprintf("-m statistic --mode random --probability %.11f ", 1/float64(left))
		}
		fmt.Fprintf(b, "-A %s -m comment --comment \"%s -> %s:8080\" %s-j %s\n", svc, name, podIP(s, e), chance, chainName("KUBE-SEP-", s, e))
	}
}
