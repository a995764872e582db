package sarif

// The parts of SARIF 2.1.0 (OASIS, errata 01) that ctaudit writes.

type log struct {
	Schema  string `json:"$schema"`
	Version string `json:"version"`
	Runs    []run  `json:"runs"`
}

type run struct {
	Tool              tool               `json:"tool"`
	AutomationDetails *automationDetails `json:"automationDetails,omitempty"`
	Invocations       []invocation       `json:"invocations"`
	Results           []result           `json:"results"`
	Properties        runProperties      `json:"properties"`
}

type tool struct {
	Driver driver `json:"driver"`
}

type driver struct {
	Name            string `json:"name"`
	Version         string `json:"version,omitempty"`
	SemanticVersion string `json:"semanticVersion,omitempty"`
	InformationURI  string `json:"informationUri"`
	Rules           []rule `json:"rules"`
}

type rule struct {
	ID                   string         `json:"id"`
	Name                 string         `json:"name"`
	ShortDescription     message        `json:"shortDescription"`
	FullDescription      message        `json:"fullDescription"`
	Help                 message        `json:"help"`
	HelpURI              string         `json:"helpUri,omitempty"`
	DefaultConfiguration configuration  `json:"defaultConfiguration"`
	Properties           ruleProperties `json:"properties"`
}

type configuration struct {
	Level string `json:"level"`
}

type ruleProperties struct {
	Tags             []string `json:"tags"`
	Precision        string   `json:"precision"`
	SecuritySeverity string   `json:"security-severity,omitempty"`
}

type message struct {
	Text     string `json:"text"`
	Markdown string `json:"markdown,omitempty"`
}

type automationDetails struct {
	ID string `json:"id"`
}

type invocation struct {
	ExecutionSuccessful        bool           `json:"executionSuccessful"`
	ExitCode                   int            `json:"exitCode"`
	ExitCodeDescription        string         `json:"exitCodeDescription"`
	ToolExecutionNotifications []notification `json:"toolExecutionNotifications,omitempty"`
}

type notification struct {
	Level   string  `json:"level"`
	Message message `json:"message"`
}

type result struct {
	RuleID              string            `json:"ruleId"`
	RuleIndex           *int              `json:"ruleIndex,omitempty"`
	Kind                string            `json:"kind"`
	Level               string            `json:"level"`
	Message             message           `json:"message"`
	Locations           []location        `json:"locations"`
	PartialFingerprints map[string]string `json:"partialFingerprints"`
	Suppressions        []suppression     `json:"suppressions,omitempty"`
	Properties          resultProperties  `json:"properties"`
}

type suppression struct {
	Kind   string `json:"kind"`
	Status string `json:"status"`
}

type location struct {
	PhysicalLocation physicalLocation  `json:"physicalLocation"`
	LogicalLocations []logicalLocation `json:"logicalLocations,omitempty"`
}

type physicalLocation struct {
	ArtifactLocation artifactLocation `json:"artifactLocation"`
	Region           region           `json:"region"`
}

type artifactLocation struct {
	URI string `json:"uri"`
}

type region struct {
	StartLine int `json:"startLine"`
}

type logicalLocation struct {
	Name               string `json:"name"`
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Kind               string `json:"kind"`
}

type resultProperties struct {
	Host     string     `json:"host,omitempty"`
	Group    string     `json:"group,omitempty"`
	Subject  string     `json:"subject,omitempty"`
	Outcome  string     `json:"outcome"`
	Severity string     `json:"severity"`
	Evidence []evidence `json:"evidence,omitempty"`
	Fix      string     `json:"fix,omitempty"`
	Findings []finding  `json:"findings,omitempty"` // of a grouped result
}

type evidence struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

type finding struct {
	Host    string `json:"host"`
	Subject string `json:"subject"`
}

type runProperties struct {
	Hosts    []hostStatus `json:"hosts"`
	Outcomes []outcome    `json:"outcomes"`
}

type hostStatus struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
	Scope  string `json:"scope,omitempty"`
}

// outcome is one row of the table of everything that was judged: GitHub shows each result as an alert, so that what passed
// cannot be one, and still belongs into the file.
type outcome struct {
	Host     string `json:"host"`
	Control  string `json:"control"`
	Subject  string `json:"subject"`
	Outcome  string `json:"outcome"`
	Severity string `json:"severity"`
}
