//! Real database servers for tests: each on a free port of this machine, with everything it writes in a temporary
//! folder, and gone when it is dropped, or when the process that started it is.
//!
//! [`disk`] is one that loses what was not synced. [`proxy`] stands between a gateway and a server and makes trouble.

pub mod disk;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;

pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn postgres_comes_back_where_it_was_with_what_it_had() {
        let mut postgres = Postgres::start();
        let database = postgres.database().await;
        let client = postgres.client(&database).await;
        client.batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)").await.unwrap();
        let address = postgres.address();
        postgres.stop();
        assert!(client.batch_execute("SELECT 1").await.is_err());
        postgres.restart();
        assert_eq!(postgres.address(), address);
        let client = postgres.client(&database).await;
        let n: i32 = client.query_one("SELECT n FROM t", &[]).await.unwrap().get(0);
        assert_eq!(n, 7);
        let folder = postgres.folder().to_owned();
        drop(postgres);
        assert!(!folder.exists());
    }

    #[test]
    fn redis_comes_back_where_it_was_and_empty() {
        let mut redis = Redis::start();
        assert_eq!(redis.command(&["SET", "a", "b c"]), "+OK");
        assert_eq!((redis.command(&["GET", "a"]).as_str(), redis.keys()), ("b c", 1));
        let address = redis.address();
        redis.stop();
        assert!(std::net::TcpStream::connect(address).is_err());
        redis.restart();
        assert_eq!((redis.address(), redis.keys()), (address, 0));
    }

    #[tokio::test]
    async fn the_proxy_holds_cuts_and_counts() {
        let postgres = Postgres::start();
        let proxy = Proxy::start(postgres.address());
        let url = Postgres::url_at(proxy.address(), "postgres");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let before = proxy.sends();
        client.batch_execute("SELECT 1").await.unwrap();
        assert_eq!(proxy.sends(), before + 1);
        proxy.hold();
        let held = client.batch_execute("SELECT 1");
        assert!(tokio::time::timeout(Duration::from_millis(100), held).await.is_err());
        assert_eq!(proxy.sends(), before + 2);
        proxy.restore();
        client.batch_execute("SELECT 1").await.unwrap();
        proxy.cut();
        assert!(client.batch_execute("SELECT 1").await.is_err());
        assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_err());
        proxy.restore();
        assert!(tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok());
    }
}
