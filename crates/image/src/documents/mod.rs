//! The documents of an image (image-spec: index.md, manifest.md, config.md; Docker's schema 2), as they may be: read strictly,
//! as two readers who understand one text differently are a way in.

mod config;
mod form;
mod manifest;

pub use self::config::{Empty, Healthcheck, History, ImageConfig, RootFs, Runtime, moment, seconds};
pub use self::form::Form;
pub use self::manifest::{Descriptor, Document, Index, Manifest, Platform};

/// The most bytes of a manifest or an index; registries take no more either.
pub const MOST_MANIFEST_BYTES: usize = 4 << 20;
/// The most bytes of an image's configuration.
pub const MOST_CONFIG_BYTES: usize = 8 << 20;

/// Media types by name (image-spec, media-types.md).
pub mod media_type {
    /// An index of OCI.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A manifest of OCI.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// A configuration of OCI.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer of OCI, not compressed.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer of OCI, compressed with gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer of OCI, compressed with zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// What OCI's index is called by Docker.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// What OCI's manifest is called by Docker.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// What OCI's configuration is called by Docker.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// What OCI's layer that is not compressed is called by Docker.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// What OCI's layer with gzip is called by Docker.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// All that can be asked of a registry for a name, the best first.
    pub const MANIFESTS: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
}
