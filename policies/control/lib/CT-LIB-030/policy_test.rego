package test.lib["CT-LIB-030"]

import data.control.lib["CT-LIB-030"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

test_both_fail if {
	r := judge(fixture.patch(fixture.guarded, {"liberal": fixture.known(1)}))
	r.outcome == "fail"
	contains(r.message, "rule 2 of iptables-nft ip filter INPUT")
}

test_liberal_alone_passes if judge(fixture.liberal).outcome == "pass"

test_drop_alone_is_not_applicable if judge(fixture.guarded).outcome == "not-applicable"

test_dead_drop_does_not_count if {
	d := fixture.drop(fixture.input_drop, [])
	judge(fixture.patch(fixture.liberal, {"drops": [d]})).outcome == "pass"
}

test_unread_be_liberal_is_unknown if judge(fixture.patch(fixture.guarded, {"liberal": fixture.unread})).outcome == "unknown"

test_unread_rules_are_unknown if judge(fixture.patch(fixture.blind, {"liberal": fixture.known(1)})).outcome == "unknown"
