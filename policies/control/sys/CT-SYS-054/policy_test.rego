package test.sys["CT-SYS-054"]

import data.control.sys["CT-SYS-054"] as control
import data.fixture

judge(node) := r if {
	r := fixture.only(control.results) with input as node
}

of(node) := r if {
	r := fixture.outcomes(control.results) with input as node
}

idle := {"conntrackUsed": fixture.known(false)}

test_settings_without_effect_fail if judge(fixture.patch(fixture.liberal, idle)).outcome == "fail"

test_idle_passes if judge(fixture.patch(fixture.bare, idle)).outcome == "pass"

test_in_use_is_not_applicable if judge(fixture.docker).outcome == "not-applicable"

test_unread_is_unknown if judge(fixture.blind).outcome == "unknown"

test_left_out_is_unknown if judge(json.remove(fixture.docker, ["/conntrackUsed"])).outcome == "unknown"
