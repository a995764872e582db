package test.drop["CT-DROP-020"]

import data.control.drop["CT-DROP-020"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

reject(answer, hooks) := fixture.patch(
	fixture.drop(fixture.rule("INPUT", 1, "-m conntrack --ctstate INVALID -j REJECT"), hooks),
	{"action": "reject", "with": answer},
)

reset := fixture.patch(fixture.docker, {"drops": [reject("tcp-reset", ["input"])]})

test_reset_fails if {
	r := judge(reset)
	r.outcome == "fail"
	r.severity == "high"
	r.subject == "iptables-nft ip filter INPUT"
	contains(r.message, "kills the connection itself")
	startswith(r.fix, "iptables-nft -t filter -D INPUT 1\niptables -t mangle")
}

test_reset_behind_a_drop_is_info if judge(fixture.patch(reset, {"exposure": [fixture.protected]})).severity == "info"

test_reset_without_nat_kills_own_connections if {
	judge(fixture.patch(reset, {"snat": {"ip": fixture.known([])}})).severity == "high"
}

test_reset_of_forwarded_packets_fails_beside_a_protected_input if {
	node := fixture.patch(fixture.guarded, {"drops": [reject("tcp-reset", ["forward"])]})
	judge(node).severity == "high"
}

test_reset_with_liberal_is_low if judge(fixture.patch(reset, {"liberal": fixture.known(1)})).severity == "low"

test_undecided_is_unknown if judge(fixture.patch(reset, {"exposure": [fixture.undecided]})).outcome == "unknown"

test_icmp_is_low if {
	r := judge(fixture.patch(reset, {"drops": [reject("icmp-port-unreachable", ["input"])]}))
	r.outcome == "fail"
	r.severity == "low"
	contains(r.message, "icmp-port-unreachable")
}

test_icmp_behind_a_drop_is_info if {
	judge(fixture.patch(reset, {"drops": [reject("icmp-port-unreachable", ["input"])], "exposure": [fixture.protected]})).severity == "info"
}

test_unreached_reject_passes if judge(fixture.patch(reset, {"drops": [reject("tcp-reset", [])]})).outcome == "pass"

test_drop_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
