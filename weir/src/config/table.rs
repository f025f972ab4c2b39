//! The one table of settings: their names, types, defaults and descriptions.
//!
//! The structs, `weir --help`, `weir config` and `deploy/weir.example.toml` are all generated from it, so none of them
//! can name a setting that another does not know. A description is written as a comment of the example file and has up
//! to 125 columns.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::value::{Listen, Quality, Secret, Setting};

/// One setting.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) text: &'static [&'static str],
    /// Describes the valid values; see [`Setting::WANTED`].
    pub(crate) wanted: &'static str,
}

/// The settings of one part of the program. The name is empty for the settings before the first section.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) text: &'static [&'static str],
    pub(crate) keys: &'static [Key],
}

macro_rules! keys {
    ($($(#[doc = $text:literal])+ $key:ident: $type:ty,)+) => {
        &[$(Key { name: stringify!($key), text: &[$($text),+], wanted: <$type as Setting>::WANTED },)+]
    };
}

macro_rules! settings {
    (
        { $($(#[doc = $top_text:literal])+ $top:ident: $top_type:ty = $top_default:expr,)+ }
        $($(#[doc = $about:literal])+ $section:ident: $name:ident {
            $($(#[doc = $text:literal])+ $key:ident: $type:ty = $default:expr,)+
        })+
    ) => {
        /// The whole configuration.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Config {
            $($(#[doc = $top_text])+ pub(crate) $top: $top_type,)+
            $($(#[doc = $about])+ pub(crate) $section: $name,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($top: $top_default,)+ $($section: $name::default(),)+ }
            }
        }

        $(
            $(#[doc = $about])+
            #[derive(Clone, Debug, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $name { $($(#[doc = $text])+ pub(crate) $key: $type,)+ }

            impl Default for $name {
                fn default() -> Self {
                    Self { $($key: $default,)+ }
                }
            }
        )+

        /// Every setting, in the order of the file.
        pub(crate) const SECTIONS: &[Section] = &[
            Section { name: "", text: &[], keys: keys!($($(#[doc = $top_text])+ $top: $top_type,)+) },
            $(Section {
                name: stringify!($section),
                text: &[$($about),+],
                keys: keys!($($(#[doc = $text])+ $key: $type,)+),
            },)+
        ];
    };
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

settings! {
    {
        /// Folder for the store, the API token and the certificates that Weir creates itself.
        data_dir: PathBuf = "./data".into(),
        /// Address that viewers and API clients use: scheme, host and port, without a path.
        /// Empty: http://localhost and the port of http.listen.
        public_url: String = String::new(),
    }

    /// API, playback, metrics, watch page. HTTP/1.1, and HTTP/2 with prior knowledge.
    http: Http {
        /// Address to listen on.
        listen: SocketAddr = any(8080),
        /// Maximum number of viewer connections. Beyond it, playback gets 503, and the API still answers. The maximum
        /// is lower if the limit of open files would otherwise leave no room for encoders.
        max_connections: usize = 100_000,
        /// Seconds after which a viewer that does not read its response is disconnected.
        write_stall: u64 = 10,
        /// Number of threads that serve viewers; 0: one per core.
        workers: usize = 0,
    }

    /// The same over TLS, with HTTP/2 by ALPN. The certificate is reloaded when its file changes.
    https: Tls {
        /// Address to listen on; empty: off.
        listen: Listen = Listen(None),
        /// PEM file with the certificate and its chain.
        cert: PathBuf = PathBuf::new(),
        /// PEM file with the private key.
        key: PathBuf = PathBuf::new(),
    }

    /// RTMP ingest: rtmp://HOST:1935/app and the stream key. The connection limits include RTMPS and SRT.
    rtmp: Rtmp {
        /// Address to listen on.
        listen: SocketAddr = any(1935),
        /// Maximum number of encoder connections. Further ones are closed.
        max_connections: usize = 1_000,
        /// Maximum number of encoder connections from one IP address.
        max_connections_per_address: usize = 100,
        /// Seconds from accepting a connection to its publish request.
        handshake_timeout: u64 = 10,
        /// Seconds after which a connection counts as dead if its peer no longer answers (TCP keep-alive).
        idle_timeout: u64 = 30,
        /// Largest message of an admitted encoder, in bytes; must be more than the largest key frame.
        max_message: usize = 16 << 20,
    }

    /// RTMPS ingest, over TLS: rtmps://HOST:PORT/app; 1936 is the usual port.
    rtmps: Rtmps {
        /// Address to listen on; empty: off.
        listen: Listen = Listen(None),
        /// PEM file with the certificate and its chain.
        cert: PathBuf = PathBuf::new(),
        /// PEM file with the private key.
        key: PathBuf = PathBuf::new(),
        /// Create a self-signed certificate if cert is empty. Encoders that verify certificates refuse it.
        self_signed: bool = false,
    }

    /// SRT ingest: srt://HOST:6001?streamid=STREAM_KEY&passphrase=SRT_PASSPHRASE.
    srt: Srt {
        /// Address to listen on (UDP); empty: off.
        listen: Listen = Listen(Some(any(6001))),
        /// Minimum latency in milliseconds; the encoder may ask for more. Lost packets can be resent within it.
        latency_ms: u64 = 200,
        /// Require encoders to encrypt with the passphrase of their live stream. If false, encoders must not encrypt.
        encryption: bool = true,
    }

    /// Limits of encoders, for all protocols.
    ingest: Ingest {
        /// Maximum average bit rate of one encoder, in bits per second. Bursts of up to ten seconds of it are allowed.
        max_bitrate: u64 = 100_000_000,
        /// Maximum bytes of media in memory for all encoders, including the windows for their viewers; 0: half of the
        /// memory. At the limit no encoder is admitted. Above it, the encoder that uses the most is disconnected.
        max_memory: u64 = 0,
        /// Seconds without a frame after which an encoder is disconnected. Until then its viewers see the slate.
        media_timeout: u64 = 300,
    }

    /// Transcoding to renditions (GStreamer; `weir check` lists the encoders of this machine).
    ladder: Ladder {
        /// Quality of live streams without `new_asset_settings.video_quality`: "basic" passes the encoder's frames
        /// through, "plus" and "premium" encode a ladder of renditions, which takes about one core per 1080p30
        /// programme.
        quality: Quality = Quality::Basic,
        /// Use hardware encoders if the machine has them.
        hardware: bool = true,
        /// Target loudness, in LUFS (EBU R128), for the audio of live streams with
        /// `new_asset_settings.normalize_audio`.
        loudness_lufs: f64 = -24.0,
        /// Pass the encoder's own frames through where they are suitable: H.264 as the largest rendition, which saves a
        /// quarter of the work; HEVC, AV1 and VP9 as an additional rendition. See "Source passthrough" in
        /// docs/operations.md.
        source: bool = false,
    }

    /// The image that viewers see while the encoder is disconnected. `reconnect_slate_url` of a live stream sets one.
    /// It is fetched from public addresses, and from others only if these settings allow it.
    slate: Slate {
        /// Also fetch it from private networks and from this machine (RFC 1918, fc00::/7, 100.64.0.0/10, loopback).
        allow_private: bool = false,
        /// Also fetch it from link-local addresses (169.254.0.0/16, fe80::/10), at which clouds hand out the machine's
        /// credentials. Includes the metadata services at other addresses.
        allow_link_local: bool = false,
    }

    /// Simulcast targets: other services to which a live stream is sent by RTMP, RTMPS or SRT. Only public addresses are
    /// dialled, and others if these settings allow it. See docs/simulcast.md.
    simulcast: Simulcast {
        /// Maximum number of targets of a live stream; 0: none can be added. A lower maximum deletes no target.
        max_targets: usize = control::MAX_SIMULCAST_TARGETS,
        /// Also send to private networks and to this machine (RFC 1918, fc00::/7, 100.64.0.0/10, loopback).
        allow_private: bool = false,
        /// Also send to link-local addresses (169.254.0.0/16, fe80::/10), at which clouds hand out the machine's
        /// credentials. Includes the metadata services at other addresses.
        allow_link_local: bool = false,
        /// PEM file with further root certificates for rtmps targets, beside those of the system; empty: none.
        ca_file: PathBuf = PathBuf::new(),
    }

    /// The API token (HTTP Basic). If both are empty, a token is created at the first start and printed once.
    api: Api {
        /// User name.
        token_id: String = String::new(),
        /// Password. WEIR_API_TOKEN_SECRET is a better place for it than a file.
        token_secret: Secret = Secret::default(),
    }

    /// The store of the live streams.
    store: Store {
        /// SQLite database, as in "sqlite:///var/lib/weir/weir.db"; empty: weir.db in data_dir.
        url: String = String::new(),
    }

    /// The log, on standard error.
    log: Log {
        /// Tracing filter: "info", "debug", "ingest=debug,info".
        filter: String = "info".to_owned(),
        /// Write one JSON object per line instead of text.
        json: bool = false,
    }
}
