// Package policy judges facts by Rego: it compiles the embedded controls (package policies) and the user's, runs them,
// and decodes what they say. It is the only importer of OPA.
//
// Every policy, ours and the user's, lives under the same rules: Rego v1, strict compilation, builtin functions that depend
// on nothing but their arguments, errors of builtins raised, a deadline. A control that says nothing is an internal error:
// silence is never a pass.
package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/ctaudit/ctaudit/internal/facts"
	"github.com/ctaudit/ctaudit/internal/report"
)

// Deadlines of one evaluation. The embedded policies take milliseconds: theirs is a backstop for a hostile document on a
// slow machine.
const (
	DefaultTimeout  = 5 * time.Second
	embeddedTimeout = 30 * time.Second
)

// Options say what to load. The zero Options load the embedded policies.
type Options struct {
	Dir     string        // a folder of Rego files that add controls, or replace those of the same id; empty: none
	Timeout time.Duration // of one evaluation with the user's policies; 0: DefaultTimeout
}

// Engine holds compiled policies. It is safe for concurrent use.
type Engine struct {
	controls []report.Control
	user     []report.Control // those that came from Options.Dir
	compiler *ast.Compiler
	store    storage.Store
	values   *converter
	all      query // for every control's results
	timeout  time.Duration
	memory   uint64 // bytes that one evaluation with the user's policies may add to the heap
	userDir  string
}

// Load compiles the embedded policies, and those of opts.Dir over them. Errors name file and line, and end with a line
// "hint: ..." where there is something to say.
func Load(opts Options) (*Engine, error) {
	caps := capabilities()
	modules, err := embedded(caps)
	if err != nil {
		return nil, fmt.Errorf("internal error: load policies: %w", err)
	}
	e := &Engine{store: noData(), values: newConverter(), timeout: embeddedTimeout, memory: maxMemory, userDir: opts.Dir}
	if opts.Dir != "" {
		e.timeout = cmp.Or(opts.Timeout, DefaultTimeout)
		user, err := userModules(opts.Dir, caps)
		if err != nil {
			return nil, fmt.Errorf("load policies: %w", err)
		}
		if modules, err = merge(modules, user); err != nil {
			return nil, fmt.Errorf("load policies: %w", err)
		}
	}
	if err := e.compile(modules, caps); err != nil {
		return nil, fmt.Errorf("compile policies: %w", err)
	}
	return e, nil
}

func (e *Engine) compile(modules []*module, caps *ast.Capabilities) error {
	parsed, user := map[string]*ast.Module{}, false
	for _, m := range modules {
		parsed[m.file] = m.ast
		user = user || m.user
		if m.id == "" {
			continue
		}
		c, err := control(m)
		if err != nil {
			return err
		}
		e.controls = append(e.controls, c)
		if m.user {
			e.user = append(e.user, c)
		}
	}
	byID := func(a, b report.Control) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(e.controls, byID)
	slices.SortFunc(e.user, byID)
	e.compiler = ast.NewCompiler().WithCapabilities(caps).WithStrict(true)
	if !user {
		e.compiler = e.compiler.WithSkipStages(provenStages[:]...)
	}
	e.compiler.Compile(parsed)
	if e.compiler.Failed() {
		return explain(e.compiler.Errors)
	}
	var err error
	e.all, err = e.ask(e.controls)
	return err
}

// provenStages are compiler stages that only check, speed up evaluations by the thousand, or rewrite what the embedded
// policies do not use (print, template strings, rego.metadata). The tests of this package compile the embedded policies with
// all of them, so that a scan need not; with a user's files they all run.
var provenStages = [...]ast.StageID{
	ast.StageCheckUnusedImports,
	ast.StageCheckKeywordOverrides,
	ast.StageCheckDuplicateImports,
	ast.StageRewriteTemplateStrings,
	ast.StageCheckVoidCalls,
	ast.StageRewritePrintCalls,
	ast.StageParseMetadataBlocks,
	ast.StageSetAnnotationSet,
	ast.StageRewriteRegoMetadataCalls,
	ast.StageCheckRuleConflicts,
	ast.StageCheckUndefinedFuncs,
	ast.StageCheckSafetyRuleHeads,
	ast.StageCheckRecursion,
	ast.StageCheckTypes,
	ast.StageBuildComprehensionIndices,
	ast.StageBuildRequiredCapabilities,
}

// Controls returns the controls, by id.
func (e *Engine) Controls() []report.Control { return slices.Clone(e.controls) }

// Evaluate judges one node. The results are ordered by control, then subject; every control has at least one. It fails
// when ctx ends, when the deadline passes (naming the user's control that takes so long), and when a policy breaks its
// contract.
func (e *Engine) Evaluate(ctx context.Context, f facts.Facts) ([]report.Result, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("evaluate policies: %w", ctx.Err())
	}
	input := e.values.term(reflect.ValueOf(f))
	limited, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if len(e.user) > 0 {
		limited = withMemoryLimit(limited, e.memory)
	}
	answers, err := e.answer(limited, e.all, input)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("evaluate policies: %w", ctx.Err())
		}
		if errors.Is(context.Cause(limited), errMemory) {
			return nil, fmt.Errorf("evaluate policies: the controls of %s take more than %d MiB of memory\nhint: look for texts and lists that a rule multiplies",
				e.userDir, e.memory>>20)
		}
		if topdown.IsCancel(err) || limited.Err() != nil {
			return nil, e.blame(ctx, input)
		}
		return nil, fmt.Errorf("evaluate policies: %w", explainEval(err))
	}
	return e.decode(f.Host, answers)
}

// blame finds the user's control that did not end in time, by running each alone with half the time.
func (e *Engine) blame(ctx context.Context, input *ast.Term) error {
	for _, c := range e.user {
		q, err := e.ask([]report.Control{c})
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, e.timeout/2)
		limited = withMemoryLimit(limited, e.memory)
		_, err = e.answer(limited, q, input)
		late := limited.Err() != nil
		cancel()
		if late {
			return fmt.Errorf("evaluate policies: control %s (%s): no end after %s\nhint: look for combinations of large lists, or leave the file out",
				c.ID, c.Source, e.timeout)
		}
		if err != nil {
			return fmt.Errorf("evaluate policies: %w", explainEval(err))
		}
	}
	return fmt.Errorf("evaluate policies: no end after %s", e.timeout)
}

// explainEval writes an evaluation error as "file:line: cause".
func explainEval(err error) error {
	var e *topdown.Error
	if errors.As(err, &e) && e.Location != nil {
		return fmt.Errorf("%s%s", position(e.Location), e.Message)
	}
	return err
}
