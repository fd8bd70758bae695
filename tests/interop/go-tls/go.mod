module pluto/interop/tls

go 1.21
