package test.rst["CT-RST-002"]

import data.control.rst["CT-RST-002"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

# IPv4 is guarded, IPv6 is translated too and is not.
six := fixture.patch(fixture.guarded, {
	"forwarding": {"ip6": fixture.known(true)},
	"snat": {"ip6": fixture.known([fixture.patch(fixture.masquerade, {"rule": {"family": "ip6"}})])},
	"uplinks": [{"name": "eth0", "families": ["ip", "ip6"]}],
	"exposure": [fixture.protected, fixture.exposure("A", "ip6", "eth0")],
})

test_exposed_fails_beside_a_protected_ipv4 if {
	r := judge(six)
	r.outcome == "fail"
	r.subject == "ipv6 eth0"
	r.fix == "ip6tables -t mangle -I PREROUTING -m conntrack --ctstate INVALID -j DROP"
}

test_protected_passes if {
	e := fixture.patch(fixture.protected, {"family": "ip6", "decidedBy": fixture.nft("input", 1, "ct state invalid drop")})
	judge(fixture.patch(six, {"exposure": [e]})).outcome == "pass"
}

test_global_addresses_without_nat_are_not_applicable if {
	r := judge(fixture.patch(six, {"snat": {"ip6": fixture.known([])}}))
	r.outcome == "not-applicable"
	r.subject == "ipv6"
	contains(r.message, "no IPv6 source NAT rule is reachable")
}

test_no_forwarding_is_not_applicable if {
	r := judge(fixture.docker)
	r.outcome == "not-applicable"
	contains(r.message, "net.ipv6.conf.all.forwarding=0")
}

test_unread_rules_are_unknown if {
	judge(fixture.patch(six, {"snat": {"ip6": fixture.unread}})).outcome == "unknown"
}
