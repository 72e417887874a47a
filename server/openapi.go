package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const about = `What a Sluice site shows and takes. Times are RFC 3339 in UTC and in the site's own time, which in a demo runs faster than
the wall's. Units are in the names: kw kilowatts, usd US dollars, micro_usd millionths of them, usd_per_mwh dollars per megawatt-hour,
ph_s petahashes per second, _s seconds. Lists are objects of ` + "`items` and `next`" + `: hand ` + "`next` back as `after`" + ` for the next page; at
the end it is empty. Errors are RFC 9457 problems with a ` + "`hint`" + `. On loopback no token is needed unless one is set; elsewhere send
Authorization: Bearer. Bodies are JSON. The operator may call everything; a tenant, known by its own token, may call what has
"x-access": tenant, or job for its own jobs, and sees nothing of anybody else.`

func apiConfig(version string) huma.Config {
	c := huma.DefaultConfig("Sluice", version)
	// Objects go out as their types marshal, without links to schemas; the
	// document is served by this package and no page loads code from elsewhere.
	c.CreateHooks, c.SchemasPath, c.DocsPath, c.OpenAPIPath = nil, "", "", ""
	c.Transformers = []huma.Transformer{withoutBody}
	c.RejectUnknownQueryParameters = true // a mistyped filter must not select everything
	c.Info.Description = about
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "The token of the site's token file; not asked for on loopback where none is set."},
	}
	c.Security = []map[string][]string{{"token": {}}, {}}
	c.Tags = []*huma.Tag{
		{Name: "site", Description: "The site as a whole: now, before, and why"},
		{Name: "machines", Description: "Miners and compute hosts"},
		{Name: "fleet", Description: "Many miners at once: how soon they obey, what they draw, orders by a selector"},
		{Name: "curtailments", Description: "Orders to keep load under a limit"},
		{Name: "jobs", Description: "AI work"},
		{Name: "hosts", Description: "Other machines that run jobs"},
		{Name: "tenants", Description: "Clients, their tokens and limits"},
		{Name: "books", Description: "The double-entry journal, and backup"},
	}
	return c
}

// operation begins an operation under /api/v1 with the errors that any may give.
func operation(id, method, path, tag, summary, text string) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: "/api/v1" + path, Tags: []string{tag}, Summary: summary, Description: text,
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable},
	}
	if class, ok := access[id]; ok {
		op.Extensions = map[string]any{accessNote: class}
	}
	if strings.Contains(path, "{") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	if method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusConflict, http.StatusUnsupportedMediaType)
	}
	return op
}

// streamDoc describes the response of an operation that streams.
func streamDoc(contentType, text string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: text,
		Content:     map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: "string"}}},
	}}
}

// holders are types that hold another's fields among their own.
var holders = map[string]string{"JobDetail": "Job", "TenantInfo": "Tenant", "IssuedToken": "Token"}

// describe completes the document with what the types of the other packages do
// not say, and returns its JSON.
func describe(api *huma.OpenAPI) ([]byte, error) {
	schemas := api.Components.Schemas.Map()
	if e := schemas["ErrorModel"]; e != nil {
		e.Properties["hint"] = &huma.Schema{Type: "string", Description: "How to mend it"}
	}
	for name, schema := range schemas {
		if schema.Description == "" {
			schema.Description = objects[name]
		}
		for prop, p := range schema.Properties {
			text := meaning(name, prop)
			if other := holders[name]; text == "" && other != "" {
				text = meaning(other, prop)
			}
			if text == "" {
				continue
			}
			// A reference may not have siblings in every reader's eyes, but in
			// OpenAPI 3.1 it may carry a description.
			if p.Description == "" {
				p.Description = text
			}
		}
	}
	for path, text := range map[string]string{
		"/metrics": "Figures for Prometheus, text format 0.0.4; names begin with sluice_, those of Go and the process with go_ and process_",
		"/healthz": "Answers 200 when the server runs; asks for no token",
	} {
		ct := "text/plain"
		if path == "/healthz" {
			ct = "application/json"
		}
		api.AddOperation(&huma.Operation{
			Extensions:  map[string]any{accessNote: access[strings.TrimPrefix(path, "/")]},
			OperationID: strings.TrimPrefix(path, "/"), Method: http.MethodGet, Path: path, Tags: []string{"site"},
			Summary: text, Description: text, Responses: streamDoc(ct, text),
		})
	}
	for path, item := range api.Paths {
		if plain := strings.ReplaceAll(path, "...}", "}"); plain != path { // the mux's word for a rest with slashes
			delete(api.Paths, path)
			api.Paths[plain] = item
		}
	}
	b, err := json.Marshal(api)
	if err != nil {
		return nil, fmt.Errorf("marshalling the OpenAPI document: %w", err)
	}
	return b, nil
}

// meaning says what a property is: by its full name, by its name in any type,
// or by the unit that its name ends with.
func meaning(schema, prop string) string {
	if t, ok := properties[schema+"."+prop]; ok {
		return t
	}
	if t, ok := properties[prop]; ok {
		return t
	}
	for _, u := range units {
		if strings.HasSuffix(prop, u.suffix) {
			words := strings.ReplaceAll(strings.TrimSuffix(prop, u.suffix), "_", " ")
			return strings.TrimSpace(words) + ", in " + u.unit
		}
	}
	return ""
}
