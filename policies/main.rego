# METADATA
# description: |
#   The one entry point. The engine queries data.ctaudit.results, an object from control id to the set of results that the
#   control gave for the node described by input (internal/facts). A control is a package control.AREA["ID"] with a set
#   named results.
package ctaudit

# METADATA
# scope: document
# entrypoint: true
results[id] contains result if {
	some id
	some result in data.control[_][id].results
}
