// Package rbac decides by Roles and bindings who may do what, as the API describes it
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/).
package rbac

import (
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/rbac/v1"
)

// Rules knows the Roles and bindings of a server.
type Rules struct {
	roles           listers.RoleLister
	bindings        listers.RoleBindingLister
	clusterRoles    listers.ClusterRoleLister
	clusterBindings listers.ClusterRoleBindingLister
}

// FromInformers are the rules of the server that the informers watch.
func FromInformers(f informers.SharedInformerFactory) *Rules {
	v1 := f.Rbac().V1()
	return &Rules{v1.Roles().Lister(), v1.RoleBindings().Lister(), v1.ClusterRoles().Lister(), v1.ClusterRoleBindings().Lister()}
}

// Authorize allows what any rule allows that is bound to the user.
func (r *Rules) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	for _, rule := range r.of(a.GetUser(), a.GetNamespace()) {
		if allows(&rule, a) {
			return authorizer.DecisionAllow, "a bound role allows it", nil
		}
	}
	return authorizer.DecisionNoOpinion, "no bound role allows it", nil
}

// RulesFor lists what a user may do in a namespace.
func (r *Rules) RulesFor(_ context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var resources []authorizer.ResourceRuleInfo
	var others []authorizer.NonResourceRuleInfo
	for _, rule := range r.of(u, namespace) {
		if len(rule.Resources) > 0 {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{Verbs: rule.Verbs, APIGroups: rule.APIGroups, Resources: rule.Resources, ResourceNames: rule.ResourceNames})
		}
		if len(rule.NonResourceURLs) > 0 {
			others = append(others, &authorizer.DefaultNonResourceRuleInfo{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
		}
	}
	return resources, others, false, nil
}

// of are the rules that are bound to a user: in the whole cluster, and in one namespace.
func (r *Rules) of(u user.Info, namespace string) (rules []rbacv1.PolicyRule) {
	if u == nil {
		return nil
	}
	everywhere, _ := r.clusterBindings.List(labels.Everything())
	for _, b := range everywhere {
		if isBound(b.Subjects, u, "") {
			rules = append(rules, r.byRef(b.RoleRef, "")...)
		}
	}
	if namespace == "" {
		return rules
	}
	here, _ := r.bindings.RoleBindings(namespace).List(labels.Everything())
	for _, b := range here {
		if isBound(b.Subjects, u, namespace) {
			rules = append(rules, r.byRef(b.RoleRef, namespace)...)
		}
	}
	return rules
}

// byRef are the rules of the role that a binding names; none of a role that isn't there.
func (r *Rules) byRef(ref rbacv1.RoleRef, namespace string) []rbacv1.PolicyRule {
	if ref.Kind == "ClusterRole" {
		if role, err := r.clusterRoles.Get(ref.Name); err == nil {
			return role.Rules
		}
	} else if role, err := r.roles.Roles(namespace).Get(ref.Name); err == nil {
		return role.Rules
	}
	return nil
}

func isBound(subjects []rbacv1.Subject, u user.Info, namespace string) bool {
	return slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		switch s.Kind {
		case rbacv1.UserKind:
			return s.Name == u.GetName()
		case rbacv1.GroupKind:
			return slices.Contains(u.GetGroups(), s.Name)
		case rbacv1.ServiceAccountKind:
			home := s.Namespace
			if home == "" {
				home = namespace
			}
			return home != "" && u.GetName() == "system:serviceaccount:"+home+":"+s.Name
		}
		return false
	})
}

func has(list []string, item string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, item)
}

func allows(rule *rbacv1.PolicyRule, a authorizer.Attributes) bool {
	if !has(rule.Verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool { return covers(url, a.GetPath()) })
	}
	return has(rule.APIGroups, a.GetAPIGroup()) &&
		isResource(rule.Resources, a.GetResource(), a.GetSubresource()) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.GetName()))
}

// covers tells whether a path is the one of a rule, or begins with it where the rule ends in a star.
func covers(rule, path string) bool {
	prefix, isPrefix := strings.CutSuffix(rule, "*")
	return rule == path || isPrefix && strings.HasPrefix(path, prefix)
}

func isResource(rules []string, resource, subresource string) bool {
	if subresource == "" {
		return has(rules, resource)
	}
	return has(rules, resource+"/"+subresource) || slices.Contains(rules, "*/"+subresource)
}
