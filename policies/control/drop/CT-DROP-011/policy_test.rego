package test.drop["CT-DROP-011"]

import data.control.drop["CT-DROP-011"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

test_forward_only_fails if {
	r := judge(fixture.kubernetes)
	r.outcome == "fail"
	r.subject == "ipv4 eth0"
	contains(r.message, "rule 1 of iptables-nft ip filter FORWARD")
	contains(r.message, "arrive by eth0 go to INPUT")
}

test_an_input_drop_is_another_story if {
	node := fixture.patch(fixture.kubernetes, {"drops": [
		fixture.drop(fixture.forward_drop, ["forward"]),
		fixture.drop(fixture.input_drop, ["input"]),
	]})
	judge(node).outcome == "pass"
}

test_a_nat_drop_is_no_input_drop if {
	node := fixture.patch(fixture.kubernetes, {"drops": [
		fixture.drop(fixture.forward_drop, ["forward"]),
		fixture.patch(fixture.drop(fixture.input_drop, ["input"]), {"chainType": "nat"}),
	]})
	judge(node).outcome == "fail"
}

test_output_drop_is_another_story if {
	node := fixture.patch(fixture.kubernetes, {"drops": [fixture.drop(fixture.forward_drop, ["output"])]})
	judge(node).outcome == "pass"
}

test_liberal_passes if judge(fixture.patch(fixture.kubernetes, {"liberal": fixture.known(1)})).outcome == "pass"

test_no_snat_is_not_applicable if {
	judge(fixture.patch(fixture.kubernetes, {"snat": {"ip": fixture.known([])}})).outcome == "not-applicable"
}

test_guarded_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
