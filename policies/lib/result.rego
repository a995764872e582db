# METADATA
# description: |
#   Constructors of results. A result without severity has its control's (METADATA). Subjects name what was judged and never
#   what was observed: they go into the fingerprint.
package lib.result

pass(subject, message, evidence) := {
	"outcome": "pass",
	"subject": subject,
	"message": message,
	"evidence": evidence,
}

# more: severity, evidence, fix, each optional.
fail(subject, message, more) := object.union(
	{
		"outcome": "fail",
		"subject": subject,
		"message": message,
		"evidence": [],
	},
	more,
)

not_applicable(subject, message) := {
	"outcome": "not-applicable",
	"subject": subject,
	"message": message,
	"evidence": [],
}

unknown(subject, message, hint) := {
	"outcome": "unknown",
	"subject": subject,
	"message": message,
	"evidence": [],
	"hint": hint,
}
