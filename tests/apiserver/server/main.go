// kapi is a Kubernetes API server for tests, made of the libraries the real one is made of (k8s.io/apiserver,
// k8s.io/apiextensions-apiserver): custom resources are served by the upstream code itself, the built-in kinds by the
// upstream generic registry with the strategies of kinds.go.
package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.opentelemetry.io/otel/trace/noop"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextapiserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	apiextopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authzunion "k8s.io/apiserver/pkg/authorization/union"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/kube-openapi/pkg/common"

	kapiopenapi "kapi/openapi"
	"kapi/rbac"
)

var (
	listen     = flag.String("listen", "127.0.0.1:0", "address to serve https on (port 0: a free one)")
	etcdURLs   = flag.String("etcd-servers", "", "an etcd to use instead of the embedded one")
	dataDir    = flag.String("data-dir", "", "where the embedded etcd keeps its data, and where etcd.url is written")
	kubeconfig = flag.String("kubeconfig", "kubeconfig", "kubeconfig of a cluster admin, written once the server is ready")
	tokenFile  = flag.String("token-auth-file", "", "csv of token,user,uid,\"group1,group2\"")
	authzMode  = flag.String("authorization-mode", "RBAC", "RBAC or AlwaysAllow")
	watchCache = flag.Bool("watch-cache", true, "serve reads and watches from the watch cache")
	webhooks   = flag.Bool("admission-webhooks", true, "admission webhooks and policies")
	gates      = flag.String("feature-gates", "", "feature gates, as kube-apiserver's")
)

func main() {
	klog.InitFlags(nil)
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kapi:", err)
		os.Exit(1)
	}
}

func startEtcd(dir string) ([]string, *embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = dir
	c.UnsafeNoFsync = true
	c.LogLevel = "error"
	c.QuotaBackendBytes = 4 << 30
	u, peer, err := ownURLs()
	if err != nil {
		return nil, nil, err
	}
	c.ListenClientUrls, c.AdvertiseClientUrls, c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{u}, []url.URL{u}, []url.URL{peer}, []url.URL{peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.TickMs, c.ElectionMs = 10, 50
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		return nil, nil, fmt.Errorf("etcd did not become ready")
	}
	return []string{u.String()}, e, nil
}

// ownURLs says where etcd listens: at its usual ports of the address that is ours where one was given
// (a port that is only free now may be somebody's a moment later), else at free ones.
func ownURLs() (client, peer url.URL, err error) {
	if host, port, err := net.SplitHostPort(*listen); err == nil && port != "0" {
		at := func(port string) url.URL {
			return url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
		}
		return at("2379"), at("2380"), nil
	}
	if client, err = freeURL(); err == nil {
		peer, err = freeURL()
	}
	return client, peer, err
}

func freeURL() (url.URL, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return url.URL{}, err
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}, nil
}

// factory stores each group in its released version, as kube-apiserver does (protobuf).
type factory struct{ base storagebackend.Config }

func (f factory) NewConfig(gr schema.GroupResource, _ runtime.Object) (*storagebackend.ConfigForResource, error) {
	c := f.base
	info, ok := runtime.SerializerInfoForMediaType(Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		return nil, fmt.Errorf("no protobuf")
	}
	g := gr.Group
	if gr.Resource == "events" {
		g = ""
	}
	gv := Scheme.PrioritizedVersionsForGroup(g)[0]
	c.Codec = Codecs.CodecForVersions(info.Serializer, Codecs.UniversalDeserializer(), gv, internalOf(g))
	return c.ForResource(gr), nil
}

func (f factory) ResourcePrefix(gr schema.GroupResource) string {
	if gr.Resource == "events" || gr.Group == "" {
		return gr.Resource
	}
	return gr.Group + "/" + gr.Resource
}
func (f factory) Configs() []storagebackend.Config  { return []storagebackend.Config{f.base} }
func (f factory) Backends() []serverstorage.Backend { return nil }

type services struct{}

func (services) ResolveEndpoint(ns, name string, port int32) (*url.URL, error) {
	return nil, fmt.Errorf("webhook services are not resolved here: use clientConfig.url (%s/%s:%d)", ns, name, port)
}

func run() error {
	if *gates != "" {
		if err := utilfeature.DefaultMutableFeatureGate.Set(*gates); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	servers := strings.Split(*etcdURLs, ",")
	if *etcdURLs == "" {
		d := *dataDir
		if d == "" {
			var err error
			if d, err = os.MkdirTemp("", "kapi-etcd-"); err != nil {
				return err
			}
			defer os.RemoveAll(d)
		}
		var err error
		var e *embed.Etcd
		if servers, e, err = startEtcd(filepath.Join(d, "etcd")); err != nil {
			return err
		}
		defer e.Close()
		_ = os.WriteFile(filepath.Join(d, "etcd.url"), []byte(servers[0]), 0644)
	}

	// --- serving, certificates
	root, sakey, err := loadPKI(*dataDir)
	if err != nil {
		return err
	}
	scert, skey, err := root.issue("kube-apiserver", nil, true)
	if err != nil {
		return err
	}
	acert, akey, err := root.issue("kubernetes-admin", []string{user.SystemPrivilegedGroup}, false)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	serving := genericoptions.NewSecureServingOptions()
	serving.Listener = ln
	serving.BindPort = ln.Addr().(*net.TCPAddr).Port
	serving.BindAddress = ln.Addr().(*net.TCPAddr).IP
	if serving.ServerCert.GeneratedCert, err = dynamiccertificates.NewStaticCertKeyContent("serving", scert, skey); err != nil {
		return err
	}
	cfg := genericapiserver.NewRecommendedConfig(apiextapiserver.Codecs)
	sro := genericoptions.NewServerRunOptions()
	if err := sro.Complete(); err != nil {
		return err
	}
	if err := sro.ApplyTo(&cfg.Config); err != nil {
		return err
	}
	if err := serving.WithLoopback().ApplyToConfig(&cfg.Config); err != nil {
		return err
	}
	cfg.PublicAddress = serving.BindAddress
	cfg.ExternalAddress = ln.Addr().String()

	// --- storage
	backend := storagebackend.NewDefaultConfig("/registry", apiextapiserver.Codecs.LegacyCodec(apiextensionsv1.SchemeGroupVersion))
	backend.Transport.ServerList = servers
	backend.Transport.TracerProvider = noop.NewTracerProvider()
	etcd := genericoptions.NewEtcdOptions(backend)
	etcd.EnableWatchCache = *watchCache
	if err := etcd.ApplyTo(&cfg.Config); err != nil {
		return err
	}
	builtin := etcd.CreateRESTOptionsGetter(factory{etcd.StorageConfig}, cfg.ResourceTransformers)

	// --- a client of ourselves
	cfg.ClientConfig = cfg.LoopbackClientConfig
	kube, err := kubernetes.NewForConfig(cfg.LoopbackClientConfig)
	if err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(cfg.LoopbackClientConfig)
	if err != nil {
		return err
	}
	cfg.SharedInformerFactory = informers.NewSharedInformerFactory(kube, 10*time.Minute)

	// --- who
	tokens := &saTokens{sakey, kube}
	clientCA, err := dynamiccertificates.NewStaticCAContent("client-ca", root.pem)
	if err != nil {
		return err
	}
	if err := cfg.Authentication.ApplyClientCert(clientCA, cfg.SecureServing); err != nil {
		return err
	}
	static := map[string]*user.DefaultInfo{}
	if *tokenFile != "" {
		if static, err = readTokens(*tokenFile); err != nil {
			return err
		}
	}
	byToken := tokenunion.New(tokenfile.New(static), tokens)
	cfg.Authentication.APIAudiences = authenticator.Audiences{issuer}
	cfg.Authentication.Authenticator = union.NewFailOnError(
		group.NewAuthenticatedGroupAdder(union.New(x509.NewDynamic(clientCA.VerifyOptions, x509.CommonNameUserConversion), bearertoken.New(byToken))),
		anonymous.NewAuthenticator(nil))

	// --- may they
	rauth := rbac.FromInformers(cfg.SharedInformerFactory)
	var may authorizer.Authorizer = rauth
	if *authzMode == "AlwaysAllow" {
		may = authorizerfactory.NewAlwaysAllowAuthorizer()
	}
	cfg.Authorization.Authorizer = authzunion.New(authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup), may)
	cfg.RuleResolver = rauth

	// --- schema
	defs := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(func(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
		m := apiextopenapi.GetOpenAPIDefinitions(ref)
		for k, v := range kapiopenapi.GetOpenAPIDefinitions(ref) {
			m[k] = v
		}
		return m
	})
	namer := openapinamer.NewDefinitionNamer(apiextapiserver.Scheme, Scheme)
	cfg.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(defs, namer)
	cfg.OpenAPIConfig.Info.Title = "Kubernetes"
	cfg.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(defs, namer)
	cfg.OpenAPIV3Config.Info.Title = "Kubernetes"

	// --- admission
	adm := genericoptions.NewAdmissionOptions()
	if !*webhooks {
		adm.DisablePlugins = []string{"MutatingAdmissionWebhook", "ValidatingAdmissionWebhook", "ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"}
	}
	resolve := webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, cfg.LoopbackClientConfig, noop.NewTracerProvider())
	init := []admission.PluginInitializer{webhookinit.NewPluginInitializer(resolve, services{})}
	if err := adm.ApplyTo(&cfg.Config, cfg.SharedInformerFactory, kube, dyn, utilfeature.DefaultFeatureGate, cfg.EffectiveVersion, init...); err != nil {
		return err
	}

	// --- the server: custom resources
	cfg.MergedResourceConfig = apiextapiserver.DefaultAPIResourceConfigSource()
	crdCfg := &apiextapiserver.Config{GenericConfig: cfg, ExtraConfig: apiextapiserver.ExtraConfig{
		CRDRESTOptionsGetter: apiextoptions.NewCRDRESTOptionsGetter(*etcd, cfg.ResourceTransformers, cfg.StorageObjectCountTracker),
		MasterCount:          1, ServiceResolver: services{}, AuthResolverWrapper: resolve,
	}}
	crd, err := crdCfg.Complete().New(genericapiserver.NewEmptyDelegate())
	if err != nil {
		return err
	}
	s := crd.GenericAPIServer

	// --- and the built-in kinds
	if err := installBuiltin(s, builtin, rbac.Guard{Authorizer: cfg.Authorization.Authorizer, Rules: rauth}, tokens, byToken, cfg.Authorization.Authorizer, rauth); err != nil {
		return err
	}
	s.Handler.GoRestfulContainer.Add(rootAPIs(s))
	s.AddPostStartHookOrDie("kapi-bootstrap", func(hc genericapiserver.PostStartHookContext) error {
		return bootstrap(hc, kube, serving.BindPort)
	})
	prepared := s.PrepareRun()
	done := make(chan error, 1)
	go func() { done <- prepared.RunWithContext(ctx) }()
	go func() { // ready: write the kubeconfig
		rc := kube.Discovery().RESTClient()
		for ctx.Err() == nil {
			if b, err := rc.Get().AbsPath("/readyz").DoRaw(ctx); err == nil && string(b) == "ok" {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if err := writeKubeconfig(*kubeconfig, "https://"+ln.Addr().String(), root.pem, acert, akey); err != nil {
			fmt.Fprintln(os.Stderr, "kapi:", err)
			stop()
		}
		fmt.Printf("kapi: ready at https://%s etcd %s kubeconfig %s\n", ln.Addr(), servers[0], *kubeconfig)
	}()
	return <-done
}

func readTokens(path string) (map[string]*user.DefaultInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	m := map[string]*user.DefaultInfo{}
	for _, row := range rows {
		if len(row) < 3 {
			return nil, fmt.Errorf("%s: a row wants token,user,uid[,groups]", path)
		}
		u := &user.DefaultInfo{Name: row[1], UID: row[2]}
		if len(row) > 3 {
			u.Groups = strings.Split(row[3], ",")
		}
		m[row[0]] = u
	}
	return m, nil
}

func installBuiltin(s *genericapiserver.GenericAPIServer, getter generic.RESTOptionsGetter, guard rbac.Guard, tokens *saTokens, byToken authenticator.Token, authz authorizer.Authorizer, rules authorizer.RuleResolver) error {
	groups := map[string]*genericapiserver.APIGroupInfo{}
	order := []string{}
	group := func(gv schema.GroupVersion) map[string]rest.Storage {
		g := groups[gv.Group]
		if g == nil {
			i := genericapiserver.NewDefaultAPIGroupInfo(gv.Group, Scheme, ParameterCodec, Codecs)
			g = &i
			groups[gv.Group] = g
			order = append(order, gv.Group)
		}
		if g.VersionedResourcesStorageMap[gv.Version] == nil {
			g.VersionedResourcesStorageMap[gv.Version] = map[string]rest.Storage{}
		}
		return g.VersionedResourcesStorageMap[gv.Version]
	}
	for _, k := range kinds() {
		m := group(k.gv)
		r, err := k.install(getter, m)
		if err != nil {
			return err
		}
		switch k.plural {
		case "namespaces":
			n := &NamespaceREST{r}
			m["namespaces"], m["namespaces/finalize"] = n, &FinalizeREST{n}
		case "serviceaccounts":
			m["serviceaccounts/token"] = &TokenREST{r.Store, tokens}
		case "roles", "rolebindings", "clusterroles", "clusterrolebindings":
			m[k.plural] = &GuardedREST{r, guard}
		}
	}
	z, n := reviews(authz, rules, byToken)
	for name, st := range z {
		group(schema.GroupVersion{Group: "authorization.k8s.io", Version: "v1"})[name] = st
	}
	for name, st := range n {
		group(schema.GroupVersion{Group: "authentication.k8s.io", Version: "v1"})[name] = st
	}
	if err := s.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, groups[""]); err != nil {
		return err
	}
	var rest []*genericapiserver.APIGroupInfo
	for _, g := range order {
		if g != "" {
			rest = append(rest, groups[g])
		}
	}
	return s.InstallAPIGroups(rest...)
}

type GuardedREST struct {
	*REST
	g rbac.Guard
}

func (r *GuardedREST) Create(ctx context.Context, o runtime.Object, v rest.ValidateObjectFunc, opts *metav1.CreateOptions) (runtime.Object, error) {
	return r.REST.Create(ctx, o, r.g.Create(v), opts)
}
func (r *GuardedREST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, c rest.ValidateObjectFunc, u rest.ValidateObjectUpdateFunc, f bool, opts *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.REST.Update(ctx, name, info, r.g.Create(c), r.g.Update(u), f, opts)
}

// groupsNow asks the aggregated discovery of this server, which knows built-in and custom groups alike.
func groupsNow(s *genericapiserver.GenericAPIServer) (*apidiscoveryv2.APIGroupDiscoveryList, error) {
	req := httptest.NewRequest("GET", "/apis", nil)
	req.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	w := httptest.NewRecorder()
	s.AggregatedDiscoveryGroupManager.ServeHTTP(w, req)
	l := &apidiscoveryv2.APIGroupDiscoveryList{}
	return l, json.Unmarshal(w.Body.Bytes(), l)
}

// legacyGroups serves the unaggregated /apis (kube-aggregator's part upstream).
func legacyGroups(s *genericapiserver.GenericAPIServer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		l, err := groupsNow(s)
		if err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		out := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
		for _, g := range l.Items {
			ag := metav1.APIGroup{Name: g.Name}
			for _, v := range g.Versions {
				ag.Versions = append(ag.Versions, metav1.GroupVersionForDiscovery{GroupVersion: g.Name + "/" + v.Version, Version: v.Version})
			}
			if len(ag.Versions) > 0 {
				ag.PreferredVersion = ag.Versions[0]
				out.Groups = append(out.Groups, ag)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	})
}

func bootstrap(ctx context.Context, kube kubernetes.Interface, port int) error {
	ok := func(err error) error {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	svcs, err := kube.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range svcs.Items {
		serviceTake(&svcs.Items[i])
	}
	for _, n := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if _, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n}}, metav1.CreateOptions{}); ok(err) != nil {
			return err
		}
	}
	rule := func(verbs, groups, res string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: strings.Split(verbs, ","), APIGroups: strings.Split(groups, ","), Resources: strings.Split(res, ",")}
	}
	url := func(us ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: us}
	}
	disco := url("/healthz", "/livez", "/readyz", "/version", "/version/", "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")
	roles := map[string]struct {
		rules  []rbacv1.PolicyRule
		groups []string
	}{
		"cluster-admin": {[]rbacv1.PolicyRule{rule("*", "*", "*"), {Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}}, []string{"system:masters"}},
		"system:basic-user": {[]rbacv1.PolicyRule{rule("create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews"),
			rule("create", "authentication.k8s.io", "selfsubjectreviews")}, []string{"system:authenticated"}},
		"system:discovery":          {[]rbacv1.PolicyRule{disco}, []string{"system:authenticated"}},
		"system:public-info-viewer": {[]rbacv1.PolicyRule{url("/healthz", "/livez", "/readyz", "/version", "/version/")}, []string{"system:authenticated", "system:unauthenticated"}},
		"system:auth-delegator":     {[]rbacv1.PolicyRule{rule("create", "authentication.k8s.io", "tokenreviews"), rule("create", "authorization.k8s.io", "subjectaccessreviews")}, nil},
	}
	crs, crbs := bootstrapPolicy()
	lab := func(n string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: n, Labels: map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"}, Annotations: map[string]string{"rbac.authorization.kubernetes.io/autoupdate": "true"}}
	}
	for n, r := range roles { // what is newer than 1.20 is in these, so they go first
		crs = append([]rbacv1.ClusterRole{{ObjectMeta: lab(n), Rules: r.rules}}, crs...)
		if r.groups != nil {
			b := rbacv1.ClusterRoleBinding{ObjectMeta: lab(n), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: n}}
			for _, g := range r.groups {
				b.Subjects = append(b.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: g})
			}
			crbs = append([]rbacv1.ClusterRoleBinding{b}, crbs...)
		}
	}
	for i := range crs {
		if _, err := kube.RbacV1().ClusterRoles().Create(ctx, &crs[i], metav1.CreateOptions{}); ok(err) != nil {
			return err
		}
	}
	for i := range crbs {
		if _, err := kube.RbacV1().ClusterRoleBindings().Create(ctx, &crbs[i], metav1.CreateOptions{}); ok(err) != nil {
			return err
		}
	}
	p, t, n := int32(port), corev1.ProtocolTCP, "https"
	if _, err := kube.CoreV1().Services("default").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"}},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Name: n, Port: 443, Protocol: t}}}}, metav1.CreateOptions{}); ok(err) != nil {
		return err
	}
	_, err = kube.DiscoveryV1().EndpointSlices("default").Create(ctx, &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"127.0.0.1"}}}, Ports: []discoveryv1.EndpointPort{{Name: &n, Port: &p, Protocol: &t}}}, metav1.CreateOptions{})
	return ok(err)
}
