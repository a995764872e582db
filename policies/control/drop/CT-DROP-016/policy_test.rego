package test.drop["CT-DROP-016"]

import data.control.drop["CT-DROP-016"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

tied := fixture.patch(fixture.drop(fixture.nft("pre", 1, "ct state invalid drop"), ["prerouting"]), {"priority": -200})

node := fixture.patch(fixture.guarded, {"drops": [tied]})

test_tied_fails if {
	r := judge(node)
	r.outcome == "fail"
	r.severity == "high"
	r.subject == "nftables inet firewall pre"
}

test_wrong_order_is_critical if {
	judge(fixture.patch(node, {"drops": [fixture.patch(tied, {"catastrophic": true})]})).severity == "critical"
}

test_input_at_that_priority_is_behind_conntrack if {
	judge(fixture.patch(node, {"drops": [fixture.patch(tied, {"hooks": ["input"]})]})).outcome == "pass"
}

test_other_priority_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
