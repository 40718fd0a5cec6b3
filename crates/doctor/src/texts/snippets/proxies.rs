//! Lines for the configuration of proxies and load balancers. Those for one proxy belong together:
//! they use the same names.

/// Passes the path on, WebSocket included.
pub(super) const WEBSOCKET: &[(&str, &str)] = &[
    (
        "nginx",
        r#"location {path}/ {
  proxy_pass http://socketio;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection "upgrade";
  proxy_set_header Host $http_host;
}"#,
    ),
    (
        "Apache",
        "# 2.4.47 or later\nProxyPass \"{path}/\" \"http://10.0.0.1:3000{path}/\" upgrade=websocket",
    ),
    (
        "HAProxy",
        "frontend web
  mode http
  use_backend socketio if { path_beg {path}/ }",
    ),
    (
        "Caddy",
        "handle {path}/* {
  reverse_proxy 10.0.0.1:3000
}",
    ),
    (
        "Traefik",
        "http:
  routers:
    socketio:
      rule: PathPrefix(`{path}/`)
      service: socketio
  services:
    socketio:
      loadBalancer:
        servers:
          - url: http://10.0.0.1:3000",
    ),
    (
        "ingress-nginx",
        "spec:
  rules:
    - http:
        paths:
          - path: {path}/
            pathType: Prefix
            backend:
              service:
                name: socketio
                port:
                  number: 3000",
    ),
    (
        "AWS ALB",
        "aws elbv2 create-rule --listener-arn $LISTENER --priority 10 \\
  --conditions 'Field=path-pattern,Values={path}/*' \\
  --actions Type=forward,TargetGroupArn=$GROUP",
    ),
];

/// Sends the requests of one client to the same server.
pub(super) const STICKY: &[(&str, &str)] = &[
    (
        "nginx",
        "upstream socketio {
  hash $remote_addr consistent;
  server 10.0.0.1:3000;
  server 10.0.0.2:3000;
}",
    ),
    (
        "Apache",
        r#"Header add Set-Cookie "SIO=io.%{BALANCER_WORKER_ROUTE}e; Path={path}/; HttpOnly" env=BALANCER_ROUTE_CHANGED
<Proxy "balancer://socketio">
  BalancerMember "http://10.0.0.1:3000" route=1 upgrade=websocket
  BalancerMember "http://10.0.0.2:3000" route=2 upgrade=websocket
  ProxySet stickysession=SIO
</Proxy>
ProxyPass "{path}/" "balancer://socketio{path}/""#,
    ),
    (
        "HAProxy",
        "backend socketio
  mode http
  balance source
  hash-type consistent
  server node1 10.0.0.1:3000 check
  server node2 10.0.0.2:3000 check",
    ),
    (
        "Caddy",
        "handle {path}/* {
  reverse_proxy 10.0.0.1:3000 10.0.0.2:3000 {
    lb_policy ip_hash
  }
}",
    ),
    (
        "Traefik",
        "http:
  services:
    socketio:
      loadBalancer:
        servers:
          - url: http://10.0.0.1:3000
          - url: http://10.0.0.2:3000
        sticky:
          cookie:
            name: SIO
            httpOnly: true",
    ),
    (
        "ingress-nginx",
        "metadata:
  annotations:
    nginx.ingress.kubernetes.io/affinity: cookie
    nginx.ingress.kubernetes.io/session-cookie-name: SIO",
    ),
    (
        "AWS ALB",
        "aws elbv2 modify-target-group-attributes --target-group-arn $GROUP --attributes \\
  Key=stickiness.enabled,Value=true Key=stickiness.type,Value=lb_cookie \\
  Key=stickiness.lb_cookie.duration_seconds,Value=86400",
    ),
];

/// Waits longer than the heartbeat.
pub(super) const WAIT: &[(&str, &str)] = &[
    ("nginx", "proxy_read_timeout 60s;"),
    ("Apache", "ProxyTimeout 60"),
    (
        "HAProxy",
        "timeout client 60s\ntimeout server 60s\ntimeout tunnel 1h",
    ),
    (
        "Caddy",
        "handle {path}/* {
  reverse_proxy 10.0.0.1:3000 {
    transport http {
      response_header_timeout 60s
    }
  }
}",
    ),
    (
        "Traefik",
        "http:
  serversTransports:
    socketio:
      forwardingTimeouts:
        responseHeaderTimeout: 60s
  services:
    socketio:
      loadBalancer:
        serversTransport: socketio
        servers:
          - url: http://10.0.0.1:3000",
    ),
    (
        "ingress-nginx",
        "metadata:
  annotations:
    nginx.ingress.kubernetes.io/proxy-read-timeout: \"60\"
    nginx.ingress.kubernetes.io/proxy-send-timeout: \"60\"",
    ),
    (
        "AWS ALB",
        "aws elbv2 modify-load-balancer-attributes --load-balancer-arn $BALANCER \\
  --attributes Key=idle_timeout.timeout_seconds,Value=60",
    ),
];
