package test.drop["CT-DROP-014"]

import data.control.drop["CT-DROP-014"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

in_nat := fixture.patch(fixture.rule("PREROUTING", 3, "-m conntrack --ctstate INVALID -j DROP"), {"table": "nat"})

dead := fixture.patch(fixture.drop(in_nat, ["prerouting"]), {"chainType": "nat", "priority": -100})

node := fixture.patch(fixture.docker, {"drops": [dead]})

test_nat_fails if {
	r := judge(node)
	r.outcome == "fail"
	r.severity == "medium"
	r.subject == "iptables-nft ip nat PREROUTING"
}

test_evaluator_tells_nat_chains_apart if {
	d := fixture.patch(dead, {"chainType": "filter,nat"})
	e := fixture.patch(fixture.exposed, {"shadowed": [fixture.shadow(in_nat, "nat-chain")]})
	judge(fixture.patch(node, {"drops": [d], "exposure": [e]})).outcome == "fail"
}

test_protected_otherwise_is_info if judge(fixture.patch(node, {"exposure": [fixture.protected]})).severity == "info"

test_undecided_is_unknown if judge(fixture.patch(node, {"exposure": [fixture.undecided]})).outcome == "unknown"

test_filter_chain_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
