//! The one table of settings: their names, types, defaults, and what they mean.
//!
//! The structs, `weir --help`, `weir config` and `deploy/weir.example.toml` are all made of it, so none of them can name a
//! setting that another does not know. A text reads as a comment of the file; it has up to 125 columns.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::value::{Listen, Quality, Secret, Setting};

/// One setting.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) text: &'static [&'static str],
    /// What a value of it must be.
    pub(crate) wanted: &'static str,
}

/// The settings of one part of the program; without a name for those that stand before all sections.
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
        /// Folder of the store, the API token and the certificates that Weir makes itself.
        data_dir: PathBuf = "./data".into(),
        /// Address that viewers and API clients use: scheme, host and port, without a path.
        /// Empty: http://localhost and the port of http.listen.
        public_url: String = String::new(),
    }

    /// API, playback, metrics, watch page. HTTP/1.1, and HTTP/2 with prior knowledge.
    http: Http {
        /// Address to listen on.
        listen: SocketAddr = any(8080),
        /// Viewer connections at once; beyond them playback gets 503, and the API goes on. Fewer where the limit of open files
        /// leaves no room for encoders otherwise.
        max_connections: usize = 100_000,
        /// Seconds without progress after which a reader that does not read is cut off.
        write_stall: u64 = 10,
        /// Threads that serve viewers; 0: one for each core.
        workers: usize = 0,
    }

    /// The same by TLS, HTTP/2 by ALPN. The certificate is read again when its file changes.
    https: Tls {
        /// Address to listen on; empty: off.
        listen: Listen = Listen(None),
        /// PEM file with the certificate and its chain.
        cert: PathBuf = PathBuf::new(),
        /// PEM file with the private key.
        key: PathBuf = PathBuf::new(),
    }

    /// Encoders: rtmp://HOST:1935/app and the stream key. The limits of connections hold for RTMPS and SRT too.
    rtmp: Rtmp {
        /// Address to listen on.
        listen: SocketAddr = any(1935),
        /// Encoder connections at once; further ones are closed.
        max_connections: usize = 1_000,
        /// Encoder connections at once from one address.
        max_connections_per_address: usize = 100,
        /// Seconds from accept to a publish request.
        handshake_timeout: u64 = 10,
        /// Seconds after which a connection whose other end does not answer any more is taken for dead (TCP keep-alive).
        idle_timeout: u64 = 30,
        /// Largest message of an admitted encoder, in bytes: more than the largest keyframe.
        max_message: usize = 16 << 20,
    }

    /// Encoders by TLS: rtmps://HOST:PORT/app; 1936 is the usual port.
    rtmps: Rtmps {
        /// Address to listen on; empty: off.
        listen: Listen = Listen(None),
        /// PEM file with the certificate and its chain.
        cert: PathBuf = PathBuf::new(),
        /// PEM file with the private key.
        key: PathBuf = PathBuf::new(),
        /// Make a certificate of our own when cert is empty. Encoders that verify certificates refuse it.
        self_signed: bool = false,
    }

    /// Encoders by SRT: srt://HOST:6001?streamid=STREAM_KEY&passphrase=SRT_PASSPHRASE.
    srt: Srt {
        /// Address to listen on (UDP); empty: off.
        listen: Listen = Listen(Some(any(6001))),
        /// Least latency, in milliseconds; the encoder may ask for more. What is lost can be sent again within this time.
        latency_ms: u64 = 200,
        /// Encoders encrypt with the passphrase of their live stream. With false they come without one, and must not encrypt.
        encryption: bool = true,
    }

    /// What encoders may use, whatever they speak.
    ingest: Ingest {
        /// Bits a second of one encoder in the long run; ten seconds' worth may come at once.
        max_bitrate: u64 = 100_000_000,
        /// Bytes of all encoders' media, the windows of their viewers included; 0: half of the memory there is. At the bound no
        /// further encoder is let in, and above it the one that takes the most is sent away.
        max_memory: u64 = 0,
        /// Seconds without a frame after which an encoder that stays connected is ended; until then its viewers see the slate.
        media_timeout: u64 = 300,
    }

    /// Encoding of renditions (GStreamer; `weir check` says what this machine encodes with).
    ladder: Ladder {
        /// For live streams that do not ask for one in `new_asset_settings.video_quality`: "basic" passes the encoder's frames
        /// through, "plus" and "premium" encode a ladder of renditions, which takes about a core for each 1080p30 programme.
        quality: Quality = Quality::Basic,
        /// Encode with the machine's hardware where it can.
        hardware: bool = true,
        /// Loudness in LUFS (EBU R128) that the audio of live streams with `new_asset_settings.normalize_audio` is brought to.
        loudness_lufs: f64 = -24.0,
        /// Pass the encoder's own frames on, where they are fit for it: H.264 as the largest rendition, a quarter less work;
        /// HEVC, AV1 and VP9 as a rendition more. See "The source on top" in docs/operations.md.
        source: bool = false,
    }

    /// The picture that viewers see while the encoder is away. `reconnect_slate_url` names one; it is fetched from public
    /// addresses, and from others only where these say so.
    slate: Slate {
        /// Fetch it from private networks and from this machine as well (RFC 1918, fc00::/7, 100.64.0.0/10, loopback).
        allow_private: bool = false,
        /// Fetch it from link-local addresses (169.254.0.0/16, fe80::/10) as well, where clouds hand out the machine's
        /// credentials; the metadata services at other addresses belong to these.
        allow_link_local: bool = false,
    }

    /// Who may use the API (HTTP Basic). Both empty: a token is made at the first start and printed once.
    api: Api {
        /// User name.
        token_id: String = String::new(),
        /// Password; better kept in WEIR_API_TOKEN_SECRET than here.
        token_secret: Secret = Secret::default(),
    }

    /// Where live streams are kept.
    store: Store {
        /// SQLite database, as in "sqlite:///var/lib/weir/weir.db"; empty: weir.db in data_dir.
        url: String = String::new(),
    }

    /// What is logged, on standard error.
    log: Log {
        /// Tracing filter: "info", "debug", "ingest=debug,info".
        filter: String = "info".to_owned(),
        /// One JSON object a line instead of text.
        json: bool = false,
    }
}
