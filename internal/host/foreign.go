package host

// What hosts outside this package, which read by other means, need to answer like Local.

// EncodeNamespaces writes what ReadNamespaces reads, the data of the answer to a Namespaces need. The list is ordered by Inode.
func EncodeNamespaces(list []NamespaceEvidence) ([]byte, error) { return encodeNamespaces(list) }

// SumUp sets a Glob's Err, and Denied where it applies, from the files in Failed.
func SumUp(a *Answer, denied bool) { a.sumUp(denied) }

// SaysDenied recognises a program's complaint about a missing privilege in the end of its stderr.
func SaysDenied(stderr string) bool { return saysDenied(stderr) }
