package test.drop["CT-DROP-018"]

import data.control.drop["CT-DROP-018"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

eth0_drop := fixture.rule("INPUT", 1, "-i eth0 -m conntrack --ctstate INVALID -j DROP")

two(patterns) := fixture.patch(fixture.docker, {
	"uplinks": [{"name": "eth0", "families": ["ip"]}, {"name": "wlan0", "families": ["ip"]}],
	"drops": [fixture.patch(fixture.drop(eth0_drop, ["input"]), {"inInterfaces": patterns})],
	"exposure": [
		fixture.protected,
		fixture.patch(fixture.exposed, {"interface": "wlan0", "shadowed": [fixture.shadow(eth0_drop, "other-interface")]}),
	],
})

test_second_uplink_fails if {
	r := judge(two(["eth0"]))
	r.outcome == "fail"
	r.severity == "medium"
	r.subject == "ipv4 wlan0"
	contains(r.message, "another uplink (eth0), not those that come in by wlan0")
}

test_patterns_match if {
	some pattern in ["eth+", "eth*"]
	judge(two([pattern])).outcome == "fail"
}

test_plus_matches if judge(two(["eth+"])).outcome == "fail"

test_star_matches if judge(two(["eth*"])).outcome == "fail"

test_bridge_is_another_story if judge(two(["docker0"])).outcome == "pass"

test_protected_otherwise_passes if {
	node := two(["eth0"])
	e := fixture.patch(node.exposure[1], {"protected": true, "exposed": false, "decidedBy": fixture.input_drop})
	judge(fixture.patch(node, {"exposure": [e]})).outcome == "pass"
}

test_one_uplink_passes if judge(fixture.guarded).outcome == "pass"

test_no_drop_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_rules_are_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.hint == "run as root"
}
