package twin_test

import (
	"flag"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ctaudit/ctaudit/internal/lab/twin"
	"github.com/ctaudit/ctaudit/internal/report/schematest"
)

var update = flag.Bool("update", false, "write the published schema anew")

func TestPublishedSchema(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	o := schematest.Options{
		Name: "twin-1", Root: twin.Document{}, Dirs: []string{"internal/lab/twin", "internal/netfilter"},
		Enums: map[reflect.Type][]string{reflect.TypeFor[twin.Agreement](): {"agrees", "undecided", "differs"}},
	}
	schematest.UpToDate(t, filepath.Join(here, "twin.schema.json"), schematest.Generate(t, filepath.Join(here, "../../.."), o), *update)
}
