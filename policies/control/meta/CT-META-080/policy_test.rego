package test.meta["CT-META-080"]

import data.control.meta["CT-META-080"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

m(why) := {"collector": "nftables", "what": "ruleset", "why": why, "hint": "run as root"}

test_missing_is_unknown if {
	r := judge(fixture.blind)
	r.outcome == "unknown"
	r.subject == "nftables: ruleset"
	r.message == "ruleset could not be read: permission denied."
	r.hint == "run as root"
}

test_twice_is_one if {
	r := judge(fixture.patch(fixture.docker, {"missing": [m("b"), m("a"), m("b")]}))
	r.message == "ruleset could not be read: a; b."
}

test_complete_passes if judge(fixture.docker).outcome == "pass"
