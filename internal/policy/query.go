package policy

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/ctaudit/ctaudit/internal/report"
)

// answerVar is the variable that a query binds.
const answerVar = ast.Var("answers")

// query is a compiled question.
type query struct {
	body     ast.Body
	compiler ast.QueryCompiler
}

// ask compiles the question for the results of some controls: an array with what each gives, in their order. It is one query, so that
// what controls share is evaluated once; and it is not data.ctaudit.results (main.rego), which finds the same by going
// through all packages and copying every result.
func (e *Engine) ask(controls []report.Control) (query, error) {
	results := make([]*ast.Term, len(controls))
	for i, c := range controls {
		results[i] = resultsOf(c)
	}
	q := query{compiler: e.compiler.QueryCompiler()}
	var err error
	q.body, err = q.compiler.Compile(ast.NewBody(ast.Equality.Expr(ast.NewTerm(answerVar), ast.ArrayTerm(results...))))
	if err != nil {
		return q, fmt.Errorf("internal error: query: %w", err)
	}
	return q, nil
}

// resultsOf is a control's results as a term. Ours are always a set. A user's may be anything, or not defined: they stand in an array.
func resultsOf(c report.Control) *ast.Term {
	ref := ast.NewTerm(ast.Ref{ast.DefaultRootDocument, ast.StringTerm("control"), ast.StringTerm(c.Area), ast.StringTerm(c.ID), ast.StringTerm("results")})
	if c.Source == embeddedSource {
		return ref
	}
	v := ast.VarTerm("results")
	return ast.ArrayComprehensionTerm(v, ast.NewBody(ast.Equality.Expr(v, ref)))
}

// members are the results in what resultsOf came to.
func members(v ast.Value) []*ast.Term {
	if list, ok := v.(*ast.Array); ok && list.Len() == 1 {
		v = list.Elem(0).Value
	}
	set := ast.NewSet()
	switch v := v.(type) {
	case ast.Set:
		return v.Slice()
	case *ast.Array:
		v.Foreach(set.Add)
	case ast.Object:
		v.Foreach(func(_, result *ast.Term) { set.Add(result) })
	}
	return set.Slice()
}

// answer evaluates a query, until ctx ends.
func (e *Engine) answer(ctx context.Context, q query, input *ast.Term) (*ast.Array, error) {
	txn, err := e.store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer e.store.Abort(ctx, txn)
	stop := topdown.NewCancel()
	defer context.AfterFunc(ctx, stop.Cancel)()
	t := topdown.NewQuery(q.body).WithQueryCompiler(q.compiler).WithCompiler(e.compiler).WithStore(e.store).WithTransaction(txn).
		WithCancel(stop).WithInput(input).WithMetrics(metrics.NoOp()).WithStrictBuiltinErrors(true)
	var results *ast.Array
	err = t.Iter(ctx, func(r topdown.QueryResult) error {
		results, _ = r[answerVar].Value.(*ast.Array)
		return nil
	})
	if err == nil && results == nil {
		err = errors.New("internal error: no results at all")
	}
	return results, err
}

// noData is where policies would read documents beside the input: there are none.
func noData() storage.Store {
	return inmem.NewFromObjectWithOpts(map[string]any{}, inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))
}
