package topology

import (
	"github.com/ctaudit/ctaudit/internal/host"
	"github.com/ctaudit/ctaudit/internal/snapshot"
)

func namespacesNeed() host.Need { return host.Need{Kind: host.Namespaces} }

func (r *reader) namespaces(links []snapshot.Link) snapshot.Value[[]snapshot.Namespace] {
	return lack[[]snapshot.Namespace](r, "namespaces", "not collected", "")
}
