# METADATA
# description: |
#   The one entry point: data.ctaudit.results is an object from control id to the set of results that the control gave for
#   the node described by input (internal/facts). A control is a package control.AREA["ID"] with a set named results. The
#   engine asks for the same by naming every control, which costs less.
package ctaudit

# METADATA
# scope: document
# entrypoint: true
results[id] contains result if {
	some id
	some result in data.control[_][id].results
}
