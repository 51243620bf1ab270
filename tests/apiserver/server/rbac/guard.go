package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Guard refuses a role or a binding that gives more than its author has, unless the author may
// `escalate` roles or `bind` this one.
type Guard struct {
	Authorizer authorizer.Authorizer
	Rules      *Rules
}

// Create guards new objects.
func (g Guard) Create(next rest.ValidateObjectFunc) rest.ValidateObjectFunc {
	return func(ctx context.Context, obj runtime.Object) error {
		if err := g.check(ctx, obj, nil); err != nil || next == nil {
			return err
		}
		return next(ctx, obj)
	}
}

// Update guards changed objects.
func (g Guard) Update(next rest.ValidateObjectUpdateFunc) rest.ValidateObjectUpdateFunc {
	return func(ctx context.Context, obj, old runtime.Object) error {
		if err := g.check(ctx, obj, old); err != nil || next == nil {
			return err
		}
		return next(ctx, obj, old)
	}
}

// grant is what an object gives: rules, and which of them are named by whom.
type grant struct {
	resource, verb, name, namespace string
	rules                           []rbacv1.PolicyRule
}

func (g Guard) check(ctx context.Context, obj, old runtime.Object) error {
	author, isKnown := request.UserFrom(ctx)
	if !isKnown || slices.Contains(author.GetGroups(), user.SystemPrivilegedGroup) {
		return nil
	}
	given := g.grantOf(ctx, obj)
	if given == nil {
		return nil
	}
	if old != nil {
		if before := g.grantOf(ctx, old); before != nil && equality.Semantic.DeepEqual(before.rules, given.rules) && given.verb == "escalate" {
			return nil // the same as before
		}
	}
	// `escalate` is asked of roles, `bind` of the role that is bound.
	resource, name := given.resource, given.name
	asked := authorizer.AttributesRecord{User: author, Verb: given.verb, Namespace: given.namespace, APIGroup: rbacv1.GroupName,
		APIVersion: "*", Resource: resource, Name: name, ResourceRequest: true}
	if decision, _, err := g.Authorizer.Authorize(ctx, asked); err == nil && decision == authorizer.DecisionAllow {
		return nil
	}
	owned := g.Rules.of(author, given.namespace)
	var lacking []string
	for _, single := range split(given.rules) {
		if !slices.ContainsFunc(owned, func(o rbacv1.PolicyRule) bool { return includes(&o, &single) }) {
			lacking = append(lacking, fmt.Sprintf("%v %v%v%v", single.Verbs, single.APIGroups, single.Resources, single.NonResourceURLs))
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	m, _ := meta.Accessor(obj)
	return errors.NewForbidden(rbacv1.Resource(resource), m.GetName(),
		fmt.Errorf("user %q is attempting to grant RBAC permissions not currently held: %s", author.GetName(), strings.Join(lacking, ", ")))
}

func (g Guard) grantOf(ctx context.Context, obj runtime.Object) *grant {
	namespace, _ := request.NamespaceFrom(ctx)
	role := func(resource, name, namespace string, rules []rbacv1.PolicyRule) *grant {
		return &grant{resource, "escalate", name, namespace, rules}
	}
	binding := func(ref rbacv1.RoleRef, namespace string) *grant {
		resource, home := "roles", namespace
		if ref.Kind == "ClusterRole" {
			resource = "clusterroles"
		}
		return &grant{resource, "bind", ref.Name, home, g.Rules.byRef(ref, namespace)}
	}
	switch o := obj.(type) {
	case *rbacv1.Role:
		return role("roles", o.Name, namespace, o.Rules)
	case *rbacv1.ClusterRole:
		rules := o.Rules
		if o.AggregationRule != nil {
			// It may come to hold anything.
			rules = append(slices.Clone(rules), rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
		}
		return role("clusterroles", o.Name, "", rules)
	case *rbacv1.RoleBinding:
		return binding(o.RoleRef, namespace)
	case *rbacv1.ClusterRoleBinding:
		return binding(o.RoleRef, "")
	}
	return nil
}

// split makes rules of one verb, one group, one resource and one name each.
func split(rules []rbacv1.PolicyRule) (single []rbacv1.PolicyRule) {
	orNone := func(list []string) []string {
		if len(list) == 0 {
			return []string{""}
		}
		return list
	}
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				single = append(single, rbacv1.PolicyRule{Verbs: []string{verb}, NonResourceURLs: []string{url}})
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range orNone(rule.ResourceNames) {
						one := rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}}
						if name != "" {
							one.ResourceNames = []string{name}
						}
						single = append(single, one)
					}
				}
			}
		}
	}
	return single
}

// includes tells whether a rule gives all that a single one does.
func includes(rule, single *rbacv1.PolicyRule) bool {
	if !has(rule.Verbs, single.Verbs[0]) {
		return false
	}
	if len(single.NonResourceURLs) > 0 {
		url := single.NonResourceURLs[0]
		return slices.ContainsFunc(rule.NonResourceURLs, func(own string) bool { return covers(own, url) })
	}
	resource, subresource, _ := strings.Cut(single.Resources[0], "/")
	if !has(rule.APIGroups, single.APIGroups[0]) || !isResource(rule.Resources, resource, subresource) {
		return false
	}
	if len(rule.ResourceNames) == 0 {
		return true
	}
	return len(single.ResourceNames) > 0 && slices.Contains(rule.ResourceNames, single.ResourceNames[0])
}
