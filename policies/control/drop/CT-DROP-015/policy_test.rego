package test.drop["CT-DROP-015"]

import data.control.drop["CT-DROP-015"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

raw := fixture.patch(fixture.rule("PREROUTING", 1, "-m conntrack --ctstate INVALID -j DROP"), {"table": "raw"})

early := fixture.patch(fixture.drop(raw, ["prerouting"]), {"priority": -300, "catastrophic": true})

node := fixture.patch(fixture.guarded, {"drops": [early]})

test_raw_is_critical if {
	r := judge(node)
	r.outcome == "fail"
	not "severity" in object.keys(r) # METADATA's: critical
	r.subject == "iptables-nft ip raw PREROUTING"
	contains(r.message, "priority -300")
	startswith(r.fix, "iptables-nft -t raw -D PREROUTING 1\niptables -t mangle")
}

test_ingress_is_critical_at_any_priority if {
	d := fixture.patch(fixture.drop(fixture.nft("in", 1, "ct state invalid drop"), ["ingress"]), {"catastrophic": true})
	r := judge(fixture.patch(node, {"drops": [d]}))
	not "severity" in object.keys(r) # METADATA's: critical
	startswith(r.fix, "nft delete rule inet firewall in handle 11\nnft add table")
}

test_all_rules_are_deleted_from_below if {
	second := fixture.patch(early, {"rule": {"number": 12}})
	r := judge(fixture.patch(node, {"drops": [early, second]}))
	startswith(r.fix, "iptables-nft -t raw -D PREROUTING 12\niptables-nft -t raw -D PREROUTING 1\n")
}

test_narrow_drop_passes if {
	judge(fixture.patch(node, {"drops": [fixture.patch(early, {"catastrophic": false})]})).outcome == "pass"
}

test_unreached_passes if judge(fixture.patch(node, {"drops": [fixture.patch(early, {"hooks": []})]})).outcome == "pass"

test_at_conntrack_is_another_story if {
	judge(fixture.patch(node, {"drops": [fixture.patch(early, {"priority": -200})]})).outcome == "pass"
}

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
