# METADATA
# description: |
#   What must hold across controls: no report says that a packet is dropped and that a dead drop is a serious finding, no
#   control is silent, and nothing passes on facts that were not read.
package test.consistency

import data.ctaudit
import data.fixture

reasons := {
	"shadowed", "unreferenced", "nat-chain", "other-family", "other-hook", "dormant", "needs-entry", "before-conntrack",
	"at-conntrack", "other-interface", "scoped", "limited", "reset", "icmp", "untracked", "undecided",
}

ineffective := fixture.rule("INPUT", 7, "-m conntrack --ctstate INVALID -j DROP")

# A node that is protected by one rule while a second one does not help for the reason.
second(reason) := fixture.patch(fixture.guarded, {
	"exposure": [fixture.patch(fixture.protected, {"shadowed": [fixture.shadow(ineffective, reason)]})],
	"drops": [
		fixture.drop(fixture.input_drop, ["input"]),
		fixture.patch(fixture.drop(ineffective, ["input"]), {"inInterfaces": ["docker0"]}),
	],
})

serious := {"low", "medium", "high", "critical"}

test_a_second_drop_that_does_not_help_is_never_serious if {
	every reason in reasons {
		results := ctaudit.results with input as second(reason)
		found := {id |
			some id, rs in results
			startswith(id, "CT-DROP-")
			some r in rs
			r.outcome == "fail"
			object.get(r, "severity", "medium") in serious
		}
		found == set()
	}
}

nodes := [
	fixture.docker, fixture.guarded, fixture.liberal, fixture.bare, fixture.blind, fixture.kubernetes,
	fixture.service_exposed,
]

controls := {id | some id, _ in data.control[_]}

test_every_control_speaks_on_every_node if {
	every n in nodes {
		results := ctaudit.results with input as n
		{id | some id, rs in results; count(rs) > 0} == controls
	}
}

test_subjects_are_not_repeated if {
	every n in nodes {
		results := ctaudit.results with input as n
		every rs in results {
			count({r.subject | some r in rs}) == count(rs)
		}
	}
}

test_unknown_says_how_to_know if {
	results := ctaudit.results with input as fixture.blind
	every rs in results {
		every r in rs {
			hinted(r)
		}
	}
}

hinted(r) if r.outcome != "unknown"

hinted(r) if r.hint != ""

# What depends on the ruleset may not pass where it was not read.
test_blind_nodes_do_not_pass if {
	results := ctaudit.results with input as fixture.blind
	passed := {id |
		some id, rs in results
		some r in rs
		r.outcome == "pass"
		regex.match("^CT-(RST|DROP)-", id)
	}
	passed == set()
}

# With be_liberal nothing is exposed, so that no exposure and no ineffective drop may fail.
test_liberal_nodes_have_no_exposure if {
	every reason in reasons {
		n := fixture.patch(fixture.docker, {
			"liberal": fixture.known(1),
			"exposure": [fixture.patch(fixture.exposed, {"shadowed": [fixture.shadow(ineffective, reason)]})],
		})
		results := ctaudit.results with input as n
		failed := {id |
			some id, rs in results
			regex.match("^CT-(RST|DROP)-", id)
			some r in rs
			r.outcome == "fail"
		}
		failed == set()
	}
}
