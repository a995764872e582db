package probe_test

import (
	"github.com/ctaudit/ctaudit/internal/collect"
	"github.com/ctaudit/ctaudit/internal/collect/registry"
	"github.com/ctaudit/ctaudit/internal/host"
)

func everything() []host.Need { return collect.NeedsOf(registry.All()) }
