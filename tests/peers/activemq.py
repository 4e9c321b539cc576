"""A private ActiveMQ broker that speaks STOMP on loopback ports, plain and, given certificates, TLS."""

import functools
from xml.sax.saxutils import quoteattr

from tests.peers.broker import PrivateBroker
from tests.peers.certificates import STORE_PASSWORD, Certificates, shared_certificates
from tests.peers.packages import ACTIVEMQ, absence, locate
from tests.peers.process import PrivateProcess, free_ports, private_directory

CONFIGURATION = """\
<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans
         http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
         http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="lb" useJmx="false" dataDirectory={data}
          populateJMSXUserID="true" useAuthenticatedPrincipalForJMSXUserID="true">
    <plugins>
      <jaasDualAuthenticationPlugin configuration="passwords" sslConfiguration="certificates"/>
      <authorizationPlugin><map><authorizationMap><authorizationEntries>
        <authorizationEntry queue="lb.&gt;" read="users" write="users" admin="users"/>
        <authorizationEntry topic="lb.&gt;" read="users" write="users" admin="users"/>
        <authorizationEntry topic="grid.&gt;" read="users" write="users" admin="users"/>
        <authorizationEntry topic="ActiveMQ.Advisory.&gt;" read="users" write="users" admin="users"/>
        <authorizationEntry queue="refused.&gt;" read="users" write="nobody" admin="users"/>
        <authorizationEntry topic="refused.&gt;" read="users" write="nobody" admin="users"/>
      </authorizationEntries></authorizationMap></map></authorizationPlugin>
    </plugins>
    <persistenceAdapter><kahaDB directory={data}/></persistenceAdapter>
    {tls}
    <transportConnectors>{connectors}</transportConnectors>
  </broker>
</beans>
"""
TLS = """\
<sslContext>
      <sslContext keyStore={keys} keyStoreType="PKCS12" keyStorePassword={password}
                  trustStore={trust} trustStoreType="PKCS12" trustStorePassword={password}/>
    </sslContext>"""
PLAIN_CONNECTOR = '<transportConnector name="stomp" uri="stomp+nio://127.0.0.1:{port}"/>'
TLS_CONNECTOR = '<transportConnector name="stomp+ssl" uri="stomp+nio+ssl://127.0.0.1:{port}?needClientAuth=true"/>'
#: Who may log in: by password over plain connections, by certificate over TLS.
LOGIN = """\
passwords {
  org.apache.activemq.jaas.PropertiesLoginModule required
    org.apache.activemq.jaas.properties.user="users" org.apache.activemq.jaas.properties.group="groups";
};
certificates {
  org.apache.activemq.jaas.TextFileCertificateLoginModule required
    org.apache.activemq.jaas.textfiledn.user="names" org.apache.activemq.jaas.textfiledn.group="groups";
};
"""
CERTIFICATE_USER = "tester"  # what the broker calls the owner of the user's certificate
LOGIN_FILES = {
    "login.config": LOGIN,
    "users": "guest=guest\n",
    "names": f"{CERTIFICATE_USER}=CN=Test User, O=Test\n",
    "groups": f"users=guest,{CERTIFICATE_USER}\n",
}
LOGGING = """\
log4j.rootLogger=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %m%n
"""
# A small heap, and the compiler that is quick rather than thorough: the start is what tests wait for.
JAVA = ("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ActiveMQ(PrivateBroker):
    """A running broker; the TLS port is None without certificates.

    Users may use queues and topics ``lb.…`` and topics ``grid.…``; ``refused.…`` may be read and not written.
    """

    def __init__(self, certificates: Certificates | None = None) -> None:
        program = locate(ACTIVEMQ)
        self.directory = private_directory()
        self.stomp_port, tls_port = free_ports(2)
        self.stomp_tls_port = tls_port if certificates else None
        configuration = self.directory / "activemq.xml"
        configuration.write_text(self._configuration(certificates))
        logging = self.directory / "log4j.properties"
        logging.write_text(LOGGING)
        for name, text in LOGIN_FILES.items():
            (self.directory / name).write_text(text)
        properties = {
            "java.security.auth.login.config": self.directory / "login.config",
            "activemq.home": program.parent.parent,
            "activemq.base": self.directory,
            "activemq.conf": self.directory,
            "activemq.data": self.directory / "data",
            "java.io.tmpdir": self.directory,
            "log4j.configuration": f"file:{logging}",
        }
        definitions = [f"-D{name}={value}" for name, value in properties.items()]
        self._process = PrivateProcess(
            [*JAVA, *definitions, "-jar", program, "start", f"xbean:file:{configuration}"],
            ready=r"Apache ActiveMQ .* started",
            directory=self.directory,
        )
        self._process.wait_until_ready()

    def _configuration(self, certificates: Certificates | None) -> str:
        data = quoteattr(str(self.directory / "data"))
        connectors = PLAIN_CONNECTOR.format(port=self.stomp_port)
        if certificates is None:
            return CONFIGURATION.format(data=data, tls="", connectors=connectors)
        tls = TLS.format(
            keys=quoteattr(certificates.java_keys.as_uri()),
            trust=quoteattr(certificates.java_trust.as_uri()),
            password=quoteattr(STORE_PASSWORD),
        )
        connectors += TLS_CONNECTOR.format(port=self.stomp_tls_port)
        return CONFIGURATION.format(data=data, tls=tls, connectors=connectors)

    @property
    def pid(self) -> int:
        """The id of the broker's process."""
        return self._process.pid


@functools.cache
def shared() -> ActiveMQ:
    """The broker of this test process, with TLS, started on the first call and stopped at exit."""
    return ActiveMQ(shared_certificates())


absent = absence(ACTIVEMQ)
